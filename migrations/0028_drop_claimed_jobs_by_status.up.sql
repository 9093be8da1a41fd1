-- no-transaction
DROP INDEX CONCURRENTLY apalis.cura_jobs_lock_by_idx;
