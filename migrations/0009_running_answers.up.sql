-- Running answers are found by one index, which only those who look for them by user or conversation name: with a partial
-- index on `status`, which holds next to nothing when statistics are gathered, the planner walked through all running
-- answers to find one by its id. It has no time in it either, so saving a running answer touches no index.
ALTER TABLE messages ADD COLUMN running boolean NOT NULL GENERATED ALWAYS AS (status = 'sending') STORED;
DROP INDEX messages_sending_idx, messages_user_sending_idx, messages_stuck_idx;
CREATE INDEX messages_running_idx ON messages (user_id, conversation_id) WHERE running;
-- Room on each page for what is saved of a running answer.
ALTER TABLE messages SET (fillfactor = 90);
