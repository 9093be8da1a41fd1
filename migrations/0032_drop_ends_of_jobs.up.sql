-- no-transaction
-- cura_jobs_over_idx took its place.
DROP INDEX CONCURRENTLY apalis.cura_jobs_done_at_idx;
