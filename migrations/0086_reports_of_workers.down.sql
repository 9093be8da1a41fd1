ALTER TABLE apalis.workers DROP COLUMN report, DROP COLUMN queues;
