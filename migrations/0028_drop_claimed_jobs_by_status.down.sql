-- no-transaction
CREATE INDEX CONCURRENTLY cura_jobs_lock_by_idx ON apalis.jobs (lock_by) WHERE status IN ('Running', 'Queued');
