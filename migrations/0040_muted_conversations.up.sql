SET LOCAL lock_timeout = '2s';
-- Nothing is pushed to a phone for a muted conversation.
ALTER TABLE conversations ADD COLUMN muted boolean NOT NULL DEFAULT false;
