-- When what the jobs depend on (the AI provider) last worked in this worker's process, told with its heartbeat. Null: not yet.
SET LOCAL lock_timeout = '2s';
ALTER TABLE apalis.workers ADD COLUMN worked_at timestamptz;
