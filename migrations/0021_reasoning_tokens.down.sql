SET LOCAL lock_timeout = '2s';
ALTER TABLE answer_attempts DROP COLUMN reasoning_tokens;
ALTER TABLE messages DROP COLUMN reasoning_tokens;
