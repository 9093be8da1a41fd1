-- no-transaction
CREATE INDEX CONCURRENTLY lidx ON apalis.jobs (lock_by);
