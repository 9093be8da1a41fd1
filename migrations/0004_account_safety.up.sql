-- Refresh tokens that can be given again after a lost answer, tickets, and what must be known at once about sessions.

-- With the signing key, the seed makes the session's current refresh token: whoever repeats a refresh within the grace
-- gets the same successor, so there is never a second branch. Sessions from before get one at their next refresh.
ALTER TABLE sessions ADD COLUMN current_seed bytea;
CREATE INDEX sessions_ended_at_idx ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- A user whose erasure has been asked for is gone for everybody; a job removes what is left.
ALTER TABLE users ADD COLUMN erased_at timestamptz;
CREATE INDEX users_erased_at_idx ON users (erased_at) WHERE erased_at IS NOT NULL;

CREATE TABLE tickets (
    -- SHA-256.
    ticket_hash bytea PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    session_id bigint NOT NULL REFERENCES sessions ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX tickets_user_id_idx ON tickets (user_id);
CREATE INDEX tickets_session_id_idx ON tickets (session_id);
CREATE INDEX tickets_expires_at_idx ON tickets (expires_at);

-- Whoever ends a session or suspends a user, by whatever way, tells every server at COMMIT: open streams end.
CREATE FUNCTION announce_ended_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cura_sessions_ended', 's' || OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_ended AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION announce_ended_session();
CREATE TRIGGER sessions_deleted AFTER DELETE ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL) EXECUTE FUNCTION announce_ended_session();

CREATE FUNCTION announce_suspended_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cura_sessions_ended', 'u' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER users_suspended AFTER UPDATE OF suspended_at ON users
    FOR EACH ROW WHEN (OLD.suspended_at IS NULL AND NEW.suspended_at IS NOT NULL)
    EXECUTE FUNCTION announce_suspended_user();
