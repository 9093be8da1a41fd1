-- Stored names follow the glossary. Nothing reads the old ones any more.

-- Queues and the metadata of jobs. A discarded job leaves its payload to its on-failure job; the jobs that do not say how
-- often that one may be tried were enqueued when it was always 25 times.
UPDATE apalis.jobs SET job_type = 'fail-abandoned-answer' WHERE job_type = 'bury-answer';
UPDATE apalis.jobs
SET metadata = metadata - ARRAY['on_death', 'on_death_attempts']
               || hstore(ARRAY['on_failure', 'on_failure_attempts'],
                         ARRAY[CASE WHEN metadata -> 'on_death' = 'bury-answer' THEN 'fail-abandoned-answer'
                                    ELSE metadata -> 'on_death' END,
                               COALESCE(metadata -> 'on_death_attempts', '25')])
WHERE metadata ? 'on_death';
