-- no-transaction
CREATE UNIQUE INDEX CONCURRENTLY unique_job_id ON apalis.jobs (id);
