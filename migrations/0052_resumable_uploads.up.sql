-- Uploads that arrive in parts (TUS 1.0), until they are files. An id comes from the sequence of `files`, and the file gets it. So a row of
-- `files` is always a file with a type, a hash and an object, and nothing that reads files has to know of those that are not there yet.
CREATE TABLE resumable_uploads (
    id bigint PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT resumable_uploads_user_id_fkey REFERENCES users ON DELETE CASCADE,
    -- `Upload-Metadata` as it was sent, checked: the name of the file and the message that it belongs to are in it.
    metadata text NOT NULL CHECK (octet_length(metadata) <= 8192),
    -- In bytes: of the whole, and what has arrived. A part is added by whoever finds this as the client said, and by nobody else.
    length bigint NOT NULL,
    received bigint NOT NULL DEFAULT 0,
    -- Once all has arrived: which try to make the file this is, and until when nobody else tries, by the clock of Postgres.
    fence integer NOT NULL DEFAULT 0,
    completing_until timestamptz,
    -- Once it is a file, whose id is the same. However the file goes, this row goes with it.
    file_id bigint CONSTRAINT resumable_uploads_file_id_key UNIQUE CONSTRAINT resumable_uploads_file_id_fkey REFERENCES files ON DELETE CASCADE,
    -- By the clock of Postgres.
    expires_at timestamptz NOT NULL,
    CHECK (received BETWEEN 0 AND length),
    CHECK (file_id = id)
);
-- What a person has begun, and how much room it takes.
CREATE INDEX resumable_uploads_user_id_idx ON resumable_uploads (user_id) INCLUDE (file_id, length);
CREATE INDEX resumable_uploads_expires_at_idx ON resumable_uploads (expires_at);

-- What has arrived of them, without gaps.
CREATE TABLE resumable_parts (
    upload_id bigint NOT NULL CONSTRAINT resumable_parts_upload_id_fkey REFERENCES resumable_uploads ON DELETE CASCADE,
    -- Where it begins, in bytes.
    start bigint NOT NULL,
    bytes bytea NOT NULL CHECK (octet_length(bytes) BETWEEN 1 AND 1048576),
    PRIMARY KEY (upload_id, start)
);
-- Pictures and archives are compressed already.
ALTER TABLE resumable_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;
