-- Calls of an answer, per provider in the order of asking, that were paid for and brought no new text, and how long the text was
-- then. Null: none.
SET LOCAL lock_timeout = '2s';
ALTER TABLE messages
    ADD COLUMN calls_without_text smallint[],
    ADD COLUMN calls_without_text_at bigint;
