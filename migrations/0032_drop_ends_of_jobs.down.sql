-- no-transaction
CREATE INDEX CONCURRENTLY cura_jobs_done_at_idx ON apalis.jobs (done_at) WHERE status IN ('Done', 'Killed');
