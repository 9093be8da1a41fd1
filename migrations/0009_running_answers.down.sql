ALTER TABLE messages RESET (fillfactor);
DROP INDEX messages_running_idx;
CREATE INDEX messages_sending_idx ON messages (conversation_id) WHERE status = 'sending';
CREATE INDEX messages_user_sending_idx ON messages (user_id, (id + 0)) WHERE status = 'sending';
CREATE INDEX messages_stuck_idx ON messages (updated_at) WHERE status = 'sending';
ALTER TABLE messages DROP COLUMN running;
