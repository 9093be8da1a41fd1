-- The pictures of people, each in two sizes: squares that were made anew of what was uploaded, which is not kept. They are objects of the file
-- store, which a row names before they exist, as with files. `users.avatar_url` has the key of those that are shown.
CREATE TABLE avatar_pictures (
    -- Of the URL: 128 random bits.
    public_key text NOT NULL CHECK (public_key ~ '^[A-Za-z0-9_-]{22}$'),
    -- In pixels.
    side smallint NOT NULL CHECK (side IN (512, 128)),
    user_id bigint NOT NULL CONSTRAINT avatar_pictures_user_id_fkey REFERENCES users ON DELETE CASCADE,
    object_key text NOT NULL CONSTRAINT avatar_pictures_object_key_key UNIQUE
        CHECK (object_key ~ '^[1-9][0-9]*/[0-9a-f-]{36}\.[a-z0-9]{1,8}$'),
    media_type text NOT NULL CHECK (media_type IN ('image/jpeg', 'image/png')),
    -- In bytes.
    size bigint NOT NULL,
    -- Until then the file store may be at it.
    is_shown boolean NOT NULL DEFAULT false,
    -- By the clock of Postgres.
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (public_key, side)
);
CREATE INDEX avatar_pictures_user_id_idx ON avatar_pictures (user_id);
CREATE INDEX avatar_pictures_storing_idx ON avatar_pictures (created_at) WHERE NOT is_shown;

CREATE FUNCTION list_object_of_avatar() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- As in 0047: one that is being stored may come into being after its row is gone.
    INSERT INTO object_deletions (object_key, user_id, size, due_at, created_at)
    VALUES (OLD.object_key, OLD.user_id, OLD.size,
            now() + CASE WHEN OLD.is_shown THEN interval '0' ELSE interval '15 minutes' END, now())
    ON CONFLICT (object_key) DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER avatar_pictures_deleted AFTER DELETE ON avatar_pictures FOR EACH ROW EXECUTE FUNCTION list_object_of_avatar();
