ALTER TABLE apalis.jobs RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
DROP INDEX apalis.cura_jobs_oldest_idx;
DROP INDEX apalis.cura_jobs_done_at_idx;
DROP INDEX apalis.cura_jobs_lock_by_idx;
