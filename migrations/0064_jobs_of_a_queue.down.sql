-- no-transaction
DROP INDEX CONCURRENTLY apalis.cura_jobs_of_queue_idx;
