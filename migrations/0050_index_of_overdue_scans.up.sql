-- no-transaction
-- Files whose scan is long overdue are looked for, page by page.
CREATE INDEX CONCURRENTLY files_scanning_idx ON files (id) WHERE status = 'scanning';
