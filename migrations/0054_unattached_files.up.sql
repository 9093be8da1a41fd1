-- Since when a file belongs to no message; NULL while it belongs to one. A file that belongs to none for long is deleted.
ALTER TABLE files ADD COLUMN unattached_since timestamptz DEFAULT now();

CREATE FUNCTION mark_attached() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE files SET unattached_since = NULL
    WHERE id = ANY (ARRAY(SELECT file_id FROM attached)) AND unattached_since IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER message_files_inserted AFTER INSERT ON message_files
    REFERENCING NEW TABLE AS attached FOR EACH STATEMENT EXECUTE FUNCTION mark_attached();

CREATE FUNCTION mark_unattached() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    files_of_them bigint[] := ARRAY(SELECT file_id FROM detached ORDER BY file_id);
BEGIN
    -- With a message that has no files, nothing goes.
    IF cardinality(files_of_them) = 0 THEN
        RETURN NULL;
    END IF;
    -- In a statement before, so that what is counted is as it is under the locks.
    PERFORM FROM files WHERE id = ANY (files_of_them) ORDER BY id FOR NO KEY UPDATE;
    -- Not EXISTS, for which the planner may read the whole table.
    UPDATE files f SET unattached_since = now()
    WHERE id = ANY (files_of_them) AND (SELECT count(*) FROM message_files a WHERE a.file_id = f.id) = 0;
    RETURN NULL;
END $$;
CREATE TRIGGER message_files_deleted AFTER DELETE ON message_files
    REFERENCING OLD TABLE AS detached FOR EACH STATEMENT EXECUTE FUNCTION mark_unattached();
