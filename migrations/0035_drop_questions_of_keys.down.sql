-- no-transaction
CREATE INDEX CONCURRENTLY idempotency_keys_user_message_id_idx ON idempotency_keys (user_message_id);
