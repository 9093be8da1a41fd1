-- Files that people upload, and the messages they belong to. The bytes are in the file store, under the key.
CREATE TABLE files (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT files_user_id_fkey REFERENCES users ON DELETE CASCADE,
    -- A row names its object before that exists, so whatever is in the store has a row here or in object_deletions.
    object_key text NOT NULL CONSTRAINT files_object_key_key UNIQUE
        CHECK (object_key ~ '^[1-9][0-9]*/[0-9a-f-]{36}\.[a-z0-9]{1,8}$'),
    filename text NOT NULL,
    file_type text NOT NULL CHECK (file_type IN ('jpeg', 'png', 'gif', 'webp', 'pdf', 'doc', 'docx')),
    -- In bytes.
    size bigint NOT NULL,
    -- In bytes: what a scan has made of it.
    made_size bigint NOT NULL DEFAULT 0,
    sha256 bytea NOT NULL,
    -- `storing` until the store has the bytes; shown to nobody so long.
    status text NOT NULL CHECK (status IN ('storing', 'scanning', 'clean', 'infected', 'failed')),
    reason_code text CHECK (reason_code IN ('malware', 'limits_exceeded', 'encrypted', 'unreadable', 'scanner_unavailable')),
    reason_signature text,
    findings text[] NOT NULL DEFAULT '{}',
    -- Since when its scan is put off, through no fault of its own, by the clock of Postgres.
    postponed_since timestamptz,
    created_at timestamptz NOT NULL,
    -- While it is being stored, since when, by the clock of Postgres: servers and workers have clocks of their own.
    updated_at timestamptz NOT NULL,
    CHECK ((status IN ('infected', 'failed')) = (reason_code IS NOT NULL))
);
-- By `id + 0`, as in 0003: the planner must not walk the primary key past everybody else's files.
CREATE INDEX files_list_idx ON files (user_id, (id + 0));
-- What a person keeps: of an infected file nothing is kept.
CREATE INDEX files_kept_idx ON files (user_id) INCLUDE (size, made_size) WHERE status <> 'infected';
CREATE INDEX files_storing_idx ON files (updated_at) WHERE status = 'storing';

CREATE TABLE message_files (
    message_id bigint NOT NULL CONSTRAINT message_files_message_id_fkey REFERENCES messages ON DELETE CASCADE,
    file_id bigint NOT NULL CONSTRAINT message_files_file_id_fkey REFERENCES files ON DELETE CASCADE,
    -- From 0, in the order in which the person has added them.
    position smallint NOT NULL,
    PRIMARY KEY (message_id, position),
    CONSTRAINT message_files_file_key UNIQUE (message_id, file_id)
);
CREATE INDEX message_files_file_id_idx ON message_files (file_id);
