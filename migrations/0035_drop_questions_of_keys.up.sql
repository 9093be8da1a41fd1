-- no-transaction
-- It was the index behind a foreign key.
DROP INDEX CONCURRENTLY idempotency_keys_user_message_id_idx;
