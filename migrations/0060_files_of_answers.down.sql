ALTER TABLE messages DROP COLUMN files_used, DROP COLUMN prompt_tokens;
