-- no-transaction
CREATE INDEX CONCURRENTLY idempotency_keys_answer_id_idx ON idempotency_keys (answer_id);
