ALTER TABLE messages RENAME COLUMN attempt_offsets TO bases;
ALTER TABLE answer_attempts DROP CONSTRAINT answer_attempts_outcome_check;
UPDATE answer_attempts SET outcome = 'handed_over' WHERE outcome = 'released';
ALTER TABLE answer_attempts ADD CONSTRAINT answer_attempts_outcome_check
    CHECK (outcome IN ('completed', 'cancelled', 'failed', 'retried', 'handed_over', 'lost'));
