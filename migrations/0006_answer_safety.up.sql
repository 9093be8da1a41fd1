-- Answers that are never lost, doubled or stuck: who wants them stopped, what each attempt cost, what is known of the past.

ALTER TABLE messages
    -- Somebody wants this answer stopped. Written before anybody is told: a worker that begins looks here first.
    ADD COLUMN cancel_requested_at timestamptz,
    -- When a worker began it first.
    ADD COLUMN started_at timestamptz,
    -- What a running answer may cost, kept out of its user's daily budget until its attempts say what it did cost.
    ADD COLUMN reserved_tokens bigint NOT NULL DEFAULT 0,
    -- What was shown beside the answer because the question pointed to danger.
    ADD COLUMN notice jsonb;
-- By `id + 0`, as in 0003: the planner must not walk the primary key past everybody else's messages.
CREATE INDEX messages_user_sending_idx ON messages (user_id, (id + 0)) WHERE status = 'sending';
CREATE INDEX messages_stuck_idx ON messages (updated_at) WHERE status = 'sending';

-- What an attempt cost, once it is over: by its number, so that nothing is counted twice.
CREATE TABLE answer_attempts (
    message_id bigint NOT NULL REFERENCES messages ON DELETE CASCADE,
    attempt integer NOT NULL,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    outcome text NOT NULL CHECK (outcome IN ('completed', 'cancelled', 'failed', 'retried', 'handed_over', 'lost')),
    provider text NOT NULL,
    model text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    estimated boolean NOT NULL,
    ended_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, attempt)
);
CREATE INDEX answer_attempts_user_id_idx ON answer_attempts (user_id);

-- What was said up to and including a message, in short. A message has one past, whatever was said after it.
CREATE TABLE summaries (
    message_id bigint PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    content text NOT NULL,
    model text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX summaries_user_id_idx ON summaries (user_id);
