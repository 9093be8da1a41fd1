-- no-transaction
-- Counts and lists the jobs of a queue that are over, newest first: their ids are in the order in which they were made.
CREATE INDEX CONCURRENTLY cura_jobs_of_queue_idx ON apalis.jobs (job_type, status, id) WHERE status IN ('Done', 'Killed');
