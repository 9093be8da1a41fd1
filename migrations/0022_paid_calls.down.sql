SET LOCAL lock_timeout = '2s';
ALTER TABLE messages
    DROP COLUMN calls_without_text,
    DROP COLUMN calls_without_text_at;
