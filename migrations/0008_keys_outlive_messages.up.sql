-- A key outlives what it was used for: a phone that sends again what was deleted meanwhile must not bring it back.
ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_user_message_id_fkey,
    DROP CONSTRAINT idempotency_keys_answer_id_fkey,
    ADD CONSTRAINT idempotency_keys_user_message_id_fkey
        FOREIGN KEY (user_message_id) REFERENCES messages ON DELETE SET NULL,
    ADD CONSTRAINT idempotency_keys_answer_id_fkey
        FOREIGN KEY (answer_id) REFERENCES messages ON DELETE SET NULL;
