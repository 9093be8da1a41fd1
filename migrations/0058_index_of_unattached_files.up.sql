-- no-transaction
-- Files that belong to no message are looked for once they do so for long.
CREATE INDEX CONCURRENTLY files_unattached_idx ON files (unattached_since) WHERE unattached_since IS NOT NULL;
