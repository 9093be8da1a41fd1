-- Accounts: users, their signed-in places, and the refresh tokens of each place.

CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Normalised by the domain (trimmed, lower case), so equality is enough.
    email text NOT NULL CONSTRAINT users_email_key UNIQUE,
    password_hash text NOT NULL,
    name text,
    avatar_url text,
    preferences jsonb NOT NULL DEFAULT '{}',
    timezone text NOT NULL DEFAULT 'UTC',
    language text NOT NULL DEFAULT 'en',
    is_admin boolean NOT NULL DEFAULT false,
    suspended_at timestamptz,
    last_seen timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    device_name text,
    -- SHA-256 of the only refresh token that works, and of the one it replaced (for the grace after a lost answer).
    current_token bytea NOT NULL,
    previous_token bytea,
    rotated_at timestamptz,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX sessions_user_id_idx ON sessions (user_id);

-- Every refresh token ever issued for a living session: a dead one that comes back means theft.
CREATE TABLE refresh_tokens (
    token_hash bytea PRIMARY KEY,
    session_id bigint NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_at timestamptz NOT NULL
);
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id);
