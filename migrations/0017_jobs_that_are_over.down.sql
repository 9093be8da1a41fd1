-- no-transaction
DROP INDEX CONCURRENTLY apalis.cura_jobs_over_idx;
