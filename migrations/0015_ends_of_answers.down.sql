ALTER TABLE messages DROP COLUMN end_seq;
