-- Services that fail for a worker without keeping it from its other work, as it says itself with each heartbeat: stable words.
SET LOCAL lock_timeout = '2s';
ALTER TABLE apalis.workers ADD COLUMN failing_services text[];
