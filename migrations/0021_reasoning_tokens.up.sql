-- The tokens that a model spent on thoughts, which are not shown: of an answer, and of each attempt at it. Null: none are known.
SET LOCAL lock_timeout = '2s';
ALTER TABLE messages ADD COLUMN reasoning_tokens bigint;
ALTER TABLE answer_attempts ADD COLUMN reasoning_tokens bigint;
