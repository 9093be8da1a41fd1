-- What people may see, take with them, and have erased.

-- Tokens and answers by day (UTC) and model; outlives the messages it was counted from.
CREATE TABLE usage_days (
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    day date NOT NULL,
    model text NOT NULL,
    messages integer NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    PRIMARY KEY (user_id, day, model)
);

-- The user's event log: dense numbers from a counter that is locked in the same transaction.
CREATE TABLE event_counters (
    user_id bigint PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    seq bigint NOT NULL
);
CREATE TABLE events (
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    seq bigint NOT NULL,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, seq)
);
CREATE INDEX events_created_at_idx ON events (created_at);

-- One archive a user; in pieces, so that neither making nor fetching it needs it whole in memory.
CREATE TABLE exports (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT exports_user_id_key UNIQUE REFERENCES users ON DELETE CASCADE,
    state text NOT NULL CHECK (state IN ('making', 'ready')),
    size bigint,
    sha256 bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CHECK ((state = 'ready') = (size IS NOT NULL AND sha256 IS NOT NULL))
);
CREATE INDEX exports_expires_at_idx ON exports (expires_at);
CREATE TABLE export_parts (
    export_id bigint NOT NULL REFERENCES exports ON DELETE CASCADE,
    number integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (export_id, number)
);
-- A zip does not get smaller by compressing it again.
ALTER TABLE export_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE INDEX conversations_deleted_at_idx ON conversations (deleted_at) WHERE deleted_at IS NOT NULL;
