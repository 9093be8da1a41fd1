-- no-transaction
CREATE INDEX CONCURRENTLY idx_apalis_jobs_lock_by ON apalis.jobs (lock_by);
