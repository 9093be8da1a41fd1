DELETE FROM apalis.jobs WHERE job_type IN ('title-conversation', 'summarize-conversation');
DROP TABLE summaries;
DROP TABLE answer_attempts;
DROP INDEX messages_stuck_idx;
DROP INDEX messages_user_sending_idx;
ALTER TABLE messages
    DROP COLUMN notice,
    DROP COLUMN reserved_tokens,
    DROP COLUMN started_at,
    DROP COLUMN cancel_requested_at;
