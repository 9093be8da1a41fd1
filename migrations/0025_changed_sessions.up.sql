-- Servers remember that a session stands (src/app/session_cache.rs): tokens that die and a session that is shortened are announced
-- as ended sessions are (migration 0004). Servers of the last release do not know the word and read the rows each time.
SET LOCAL lock_timeout = '2s';

CREATE FUNCTION announce_changed_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cura_sessions_ended', 'g' || OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_changed AFTER UPDATE OF oldest_generation, expires_at ON sessions
    FOR EACH ROW WHEN (NEW.oldest_generation <> OLD.oldest_generation OR NEW.expires_at < OLD.expires_at)
    EXECUTE FUNCTION announce_changed_session();
