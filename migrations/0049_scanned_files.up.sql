-- What a scan has made of a file. Pictures are objects of the file store, which a row names before they exist, as with files.
CREATE TABLE file_pictures (
    file_id bigint NOT NULL CONSTRAINT file_pictures_file_id_fkey REFERENCES files ON DELETE CASCADE,
    -- For the model, or for lists.
    variant text NOT NULL CHECK (variant IN ('model', 'thumb')),
    object_key text NOT NULL CONSTRAINT file_pictures_object_key_key UNIQUE
        CHECK (object_key ~ '^[1-9][0-9]*/[0-9a-f-]{36}\.[a-z0-9]{1,8}$'),
    media_type text NOT NULL CHECK (media_type IN ('image/jpeg', 'image/png')),
    -- In pixels.
    width integer NOT NULL,
    height integer NOT NULL,
    -- In bytes.
    size bigint NOT NULL,
    -- Whether the file store is known to have it.
    is_stored boolean NOT NULL DEFAULT false,
    PRIMARY KEY (file_id, variant)
);

CREATE FUNCTION list_object_of_picture() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- As in 0047: one that is being stored may come into being after its row is gone.
    INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
    VALUES (OLD.object_key, split_part(OLD.object_key, '/', 1)::bigint, OLD.size,
            now() + CASE WHEN OLD.is_stored THEN interval '0' ELSE interval '15 minutes' END, now())
    ON CONFLICT (object_key) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER file_pictures_deleted AFTER DELETE ON file_pictures FOR EACH ROW EXECUTE FUNCTION list_object_of_picture();

-- The text of documents, as far as it was taken.
CREATE TABLE file_texts (
    file_id bigint PRIMARY KEY CONSTRAINT file_texts_file_id_fkey REFERENCES files ON DELETE CASCADE,
    -- Pages are divided by form feeds.
    content text NOT NULL,
    -- Of the whole document; NULL where it does not say.
    page_count integer,
    -- Whether text was left out.
    is_cut boolean NOT NULL
);
