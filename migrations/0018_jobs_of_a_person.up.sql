-- no-transaction
-- Finds the jobs that work with a person's words, to cancel them when the words are deleted.
CREATE INDEX CONCURRENTLY cura_jobs_user_idx ON apalis.jobs ((metadata -> 'user'))
    WHERE status IN ('Pending', 'Running');
