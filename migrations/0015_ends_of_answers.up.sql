-- The number of the event that reports an answer's end, so that nobody has to look for it in the log. Null: the answer is not
-- final, or became final under a release before this one.
ALTER TABLE messages ADD COLUMN end_seq bigint;
