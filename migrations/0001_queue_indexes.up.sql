-- What our side of the queue needs beyond apalis' own schema.

-- The reaper and the lease: the few rows somebody holds.
CREATE INDEX cura_jobs_lock_by_idx ON apalis.jobs (lock_by) WHERE status IN ('Running', 'Queued');
-- Pruning.
CREATE INDEX cura_jobs_done_at_idx ON apalis.jobs (done_at) WHERE status IN ('Done', 'Killed');
-- The age of the oldest job that waits.
CREATE INDEX cura_jobs_oldest_idx ON apalis.jobs (run_at) WHERE status = 'Pending';
-- A queue is a table of short-lived rows: clean it early.
ALTER TABLE apalis.jobs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
