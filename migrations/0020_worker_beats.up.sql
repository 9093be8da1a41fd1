-- A worker's lease counts its heartbeats: peers compare the number with the one they saw before, and no clock with another.
-- An old worker renews `last_seen` only, which peers take for a heartbeat as well.
SET LOCAL lock_timeout = '2s';
ALTER TABLE apalis.workers ADD COLUMN beats bigint NOT NULL DEFAULT 0;
