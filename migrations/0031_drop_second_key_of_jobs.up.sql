-- no-transaction
-- The primary key is the same.
DROP INDEX CONCURRENTLY IF EXISTS apalis.unique_job_id;
