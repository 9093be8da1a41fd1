ALTER TABLE exports DROP COLUMN is_refused;
