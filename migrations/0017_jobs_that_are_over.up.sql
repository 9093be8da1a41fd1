-- no-transaction
-- Finds the jobs to be deleted by what they are and when they were over. Without the first, whoever looks for completed jobs walks
-- past every dead and cancelled one, which are kept thirty times as long. A later release drops cura_jobs_done_at_idx.
CREATE INDEX CONCURRENTLY cura_jobs_over_idx ON apalis.jobs (status, done_at) WHERE status IN ('Done', 'Killed');
