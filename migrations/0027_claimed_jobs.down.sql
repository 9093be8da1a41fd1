-- no-transaction
DROP INDEX CONCURRENTLY apalis.cura_jobs_claimed_idx;
