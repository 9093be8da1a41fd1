-- What keeps a worker from its work, as it says itself with each heartbeat: a code. Null: nothing that it knows of.
SET LOCAL lock_timeout = '2s';
ALTER TABLE apalis.workers ADD COLUMN fault text;
