-- no-transaction
CREATE INDEX CONCURRENTLY refresh_tokens_created_at_idx ON refresh_tokens (created_at);
