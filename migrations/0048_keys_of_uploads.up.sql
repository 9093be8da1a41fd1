-- A key can stand for an upload, too. Without a reference, as those to messages: whoever reads it looks whether the file exists.
SET LOCAL lock_timeout = '2s';
ALTER TABLE idempotency_keys ADD COLUMN file_id bigint;
