-- Queues and the metadata of jobs.
UPDATE apalis.jobs
SET metadata = metadata - ARRAY['on_failure', 'on_failure_attempts']
               || hstore(ARRAY['on_death', 'on_death_attempts'],
                         ARRAY[CASE WHEN metadata -> 'on_failure' = 'fail-abandoned-answer' THEN 'bury-answer'
                                    ELSE metadata -> 'on_failure' END,
                               metadata -> 'on_failure_attempts'])
WHERE metadata ? 'on_failure';
UPDATE apalis.jobs SET job_type = 'bury-answer' WHERE job_type = 'fail-abandoned-answer';
