-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS apalis.idx_apalis_jobs_lock_by;
