-- What a worker process says of itself with its heartbeats: the queues that it serves, and how what its jobs depend on stands for it.
-- Null: it is of a release before.
ALTER TABLE apalis.workers ADD COLUMN queues text[], ADD COLUMN report jsonb;
