-- An attempt whose worker shut down is called as the job's outcome is: released.
ALTER TABLE answer_attempts DROP CONSTRAINT answer_attempts_outcome_check;
UPDATE answer_attempts SET outcome = 'released' WHERE outcome = 'handed_over';
ALTER TABLE answer_attempts ADD CONSTRAINT answer_attempts_outcome_check
    CHECK (outcome IN ('completed', 'cancelled', 'failed', 'retried', 'released', 'lost'));

-- Where each attempt at an answer began, as the code calls it.
ALTER TABLE messages RENAME COLUMN bases TO attempt_offsets;
