DROP TRIGGER sessions_changed ON sessions;
DROP FUNCTION announce_changed_session;
