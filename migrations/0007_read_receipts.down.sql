ALTER TABLE conversations DROP COLUMN last_read_message_id;
