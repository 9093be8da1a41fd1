-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS apalis.cura_jobs_user_idx;
