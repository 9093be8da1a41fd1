-- no-transaction
DROP INDEX CONCURRENTLY refresh_tokens_created_at_idx;
