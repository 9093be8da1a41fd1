DROP TRIGGER users_suspended_devices ON users;
DROP FUNCTION forget_devices_of_user;
DROP TRIGGER sessions_ended_devices ON sessions;
DROP FUNCTION forget_devices_of_session;
