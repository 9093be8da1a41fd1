-- Conversations, their messages, and the keys that make sending exactly-once.

CREATE TABLE conversations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    title text,
    -- Who chose the title; an automatic one never replaces a user's.
    title_source text NOT NULL DEFAULT 'none' CHECK (title_source IN ('none', 'cut', 'model', 'user')),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'archived')),
    message_count integer NOT NULL DEFAULT 0,
    -- The sort key of the list; equals created_at until the first message.
    last_message_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE INDEX conversations_list_idx ON conversations (user_id, status, last_message_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX conversations_user_id_idx ON conversations (user_id);

CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id bigint NOT NULL REFERENCES conversations ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    parent_id bigint REFERENCES messages ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content text NOT NULL,
    status text NOT NULL CHECK (status IN ('sending', 'sent', 'error')),
    -- The fence: the attempt that may write. bases[n] is where attempt n began, in UTF-8 bytes.
    attempt integer NOT NULL DEFAULT 0,
    bases bigint[] NOT NULL DEFAULT '{}',
    model text,
    provider text,
    finish_reason text CHECK (finish_reason IN ('stop', 'length', 'content_filter', 'cancelled')),
    input_tokens bigint,
    output_tokens bigint,
    usage_estimated boolean,
    latency_ms bigint,
    ttft_ms bigint,
    error_code text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK ((status = 'error') = (error_code IS NOT NULL))
);
-- By `id + 0`, and so are the queries: by `id` alone, the planner may take the primary key and walk past everybody else's
-- messages to find those of one conversation.
CREATE INDEX messages_conversation_idx ON messages (conversation_id, (id + 0));
CREATE INDEX messages_parent_id_idx ON messages (parent_id);
CREATE INDEX messages_user_id_idx ON messages (user_id, (id + 0));
CREATE INDEX messages_sending_idx ON messages (conversation_id) WHERE status = 'sending';

CREATE TABLE idempotency_keys (
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    key text NOT NULL,
    -- SHA-256 of the request the key was first used with.
    request_hash bytea NOT NULL,
    user_message_id bigint REFERENCES messages ON DELETE CASCADE,
    answer_id bigint REFERENCES messages ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_user_message_id_idx ON idempotency_keys (user_message_id);
CREATE INDEX idempotency_keys_answer_id_idx ON idempotency_keys (answer_id);
