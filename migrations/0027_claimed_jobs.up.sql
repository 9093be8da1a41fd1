-- no-transaction
-- Finds the jobs that somebody has claimed, whatever their status: for heartbeats, rescues, and the foreign key to workers. Jobs that
-- nobody holds have no entry, and there is one such index instead of three, two of which had an entry for each job that is over.
CREATE INDEX CONCURRENTLY cura_jobs_claimed_idx ON apalis.jobs (lock_by) WHERE lock_by IS NOT NULL;
