DELETE FROM idempotency_keys WHERE answer_id IS NULL;
ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_user_message_id_fkey,
    DROP CONSTRAINT idempotency_keys_answer_id_fkey,
    ADD CONSTRAINT idempotency_keys_user_message_id_fkey
        FOREIGN KEY (user_message_id) REFERENCES messages ON DELETE CASCADE,
    ADD CONSTRAINT idempotency_keys_answer_id_fkey
        FOREIGN KEY (answer_id) REFERENCES messages ON DELETE CASCADE;
