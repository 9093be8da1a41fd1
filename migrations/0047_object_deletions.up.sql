-- Objects of the file store that are to be deleted. However a row of `files` goes, its object is listed here in the same transaction,
-- and stays listed until the store agrees.
CREATE TABLE object_deletions (
    object_key text PRIMARY KEY CHECK (object_key ~ '^[1-9][0-9]*/[0-9a-f-]{36}\.[a-z0-9]{1,8}$'),
    -- Without a reference: the person may be gone before the object is.
    user_id bigint NOT NULL,
    -- In bytes: what is not deleted yet counts for what its person keeps.
    size bigint NOT NULL,
    -- Not before.
    due_at timestamptz NOT NULL,
    -- How often the store has not done it.
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL
);
CREATE INDEX object_deletions_due_at_idx ON object_deletions (due_at);
CREATE INDEX object_deletions_user_id_idx ON object_deletions (user_id) INCLUDE (size);

CREATE FUNCTION list_object_of_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The object of a file that is being stored may come into being after its row is gone. Putting one takes ten minutes at most.
    INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
    VALUES (OLD.object_key, OLD.user_id, OLD.size,
            now() + CASE OLD.status WHEN 'storing' THEN interval '15 minutes' ELSE interval '0' END, now())
    ON CONFLICT (object_key) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER files_deleted AFTER DELETE ON files FOR EACH ROW EXECUTE FUNCTION list_object_of_file();
