-- no-transaction
-- It was the index behind a foreign key.
DROP INDEX CONCURRENTLY idempotency_keys_answer_id_idx;
