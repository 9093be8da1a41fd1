-- Archives are objects of the file store, which a row names before they exist, as with files. An export is ready when its object is stored.
-- Its `state` stays 'making' then: a server of the release before would look for its parts, and send nothing; so it says that the archive is
-- being made. Nobody writes `export_parts` any more, nor `size` and `sha256` of `exports`: a later release drops them.
CREATE TABLE export_objects (
    export_id bigint PRIMARY KEY CONSTRAINT export_objects_export_id_fkey REFERENCES exports ON DELETE CASCADE,
    object_key text NOT NULL CONSTRAINT export_objects_object_key_key UNIQUE
        CHECK (object_key ~ '^[1-9][0-9]*/[0-9a-f-]{36}\.[a-z0-9]{1,8}$'),
    -- In bytes.
    size bigint NOT NULL,
    sha256 bytea NOT NULL,
    -- Whether the file store is known to have it.
    is_stored boolean NOT NULL DEFAULT false
);

CREATE FUNCTION list_object_of_export() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- As in 0047: one that is being stored may come into being after its row is gone. With the size 0: an archive does not count for what
    -- its person keeps.
    INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
    VALUES (OLD.object_key, split_part(OLD.object_key, '/', 1)::bigint, 0,
            now() + CASE WHEN OLD.is_stored THEN interval '0' ELSE interval '15 minutes' END, now())
    ON CONFLICT (object_key) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER export_objects_deleted AFTER DELETE ON export_objects FOR EACH ROW EXECUTE FUNCTION list_object_of_export();
