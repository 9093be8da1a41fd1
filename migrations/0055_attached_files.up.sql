-- no-transaction
-- Files that belong to a message since before 0054, in batches.
DO $$
DECLARE
    first bigint := 0;
    last bigint;
BEGIN
    LOOP
        SELECT max(id) INTO last FROM (SELECT id FROM files WHERE id > first ORDER BY id LIMIT 1000) batch;
        EXIT WHEN last IS NULL;
        UPDATE files f SET unattached_since = NULL
        WHERE id > first AND id <= last AND (SELECT count(*) FROM message_files a WHERE a.file_id = f.id) > 0;
        COMMIT;
        first := last;
    END LOOP;
END $$;
