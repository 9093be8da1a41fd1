-- Ids of messages begin anew, and jobs are known by them.
DELETE FROM apalis.jobs WHERE job_type IN ('generate-answer', 'bury-answer');
DROP TABLE idempotency_keys;
DROP TABLE messages;
DROP TABLE conversations;
