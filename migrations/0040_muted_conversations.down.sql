ALTER TABLE conversations DROP COLUMN muted;
