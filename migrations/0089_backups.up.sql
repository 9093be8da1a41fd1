-- Which backups were made, so that anybody who can reach the database knows how old the last one is.
CREATE TABLE backups (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The moment that it is of.
    taken_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    -- In bytes.
    size bigint NOT NULL,
    is_encrypted boolean NOT NULL,
    -- Whether a schedule has asked for it.
    is_scheduled boolean NOT NULL
);
