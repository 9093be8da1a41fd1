-- However a session ends, its devices go in the same transaction: a phone that was signed out never rings again. The rows of a
-- deleted session go with it.
CREATE FUNCTION forget_devices_of_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM devices WHERE session_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_ended_devices AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION forget_devices_of_session();

CREATE FUNCTION forget_devices_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM devices WHERE user_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER users_suspended_devices AFTER UPDATE OF suspended_at ON users
    FOR EACH ROW WHEN (OLD.suspended_at IS NULL AND NEW.suspended_at IS NOT NULL)
    EXECUTE FUNCTION forget_devices_of_user();
