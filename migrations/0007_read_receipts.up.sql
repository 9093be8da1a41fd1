-- How far a person has read in a conversation.
ALTER TABLE conversations ADD COLUMN last_read_message_id bigint;
