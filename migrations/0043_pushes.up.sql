-- What was decided for each message, and what came of each send: why a phone rang, or did not. Kept for thirty days.
CREATE TABLE pushes (
    -- The `push_id` of clients.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT pushes_user_id_fkey REFERENCES users ON DELETE CASCADE,
    -- What it is about; without references, because it is known longer than they are. A test is about nothing.
    conversation_id bigint,
    message_id bigint,
    kind text NOT NULL CHECK (kind IN ('answer', 'answer_failed', 'read', 'test')),
    decision text NOT NULL CHECK (decision IN
        ('pushed', 'watched', 'read', 'muted', 'off', 'quiet', 'superseded', 'expired', 'no_device', 'gone')),
    -- Until when it waits, or has waited, because of quiet hours.
    quiet_until timestamptz,
    -- Since when no device shows it any more.
    dismissed_at timestamptz,
    decided_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX pushes_message_key ON pushes (message_id, kind);
CREATE INDEX pushes_user_idx ON pushes (user_id, conversation_id);
CREATE INDEX pushes_created_at_idx ON pushes (created_at);

-- A send is claimed before it is made, so that no device gets a push twice, whatever happens to who sends it.
CREATE TABLE push_sends (
    push_id bigint NOT NULL CONSTRAINT push_sends_push_id_fkey REFERENCES pushes ON DELETE CASCADE,
    -- Without a reference: the device may be gone because of it.
    device_id bigint NOT NULL,
    -- `sent`; `retry`: may be sent again; `gone` and `inactive`: so is the device; `kept`, `failed`: not sent. Null while it is sent,
    -- or if nobody lived to say what came of it; then it is not sent again.
    outcome text CHECK (outcome IN ('sent', 'retry', 'gone', 'inactive', 'kept', 'failed')),
    -- What the push service said, in one word.
    code text,
    attempts smallint NOT NULL DEFAULT 1,
    claimed_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (push_id, device_id)
);
CREATE INDEX push_sends_device_idx ON push_sends (device_id, claimed_at);
CREATE INDEX push_sends_claimed_at_idx ON push_sends (claimed_at);
