-- Without the column they would be accounts again.
DELETE FROM users WHERE erased_at IS NOT NULL;
DROP TRIGGER users_suspended ON users;
DROP TRIGGER sessions_deleted ON sessions;
DROP TRIGGER sessions_ended ON sessions;
DROP FUNCTION announce_suspended_user();
DROP FUNCTION announce_ended_session();
DROP TABLE tickets;
ALTER TABLE users DROP COLUMN erased_at;
DROP INDEX sessions_expires_at_idx;
DROP INDEX sessions_ended_at_idx;
ALTER TABLE sessions DROP COLUMN current_seed;
