DELETE FROM apalis.jobs WHERE job_type IN ('purge-conversation', 'erase-user', 'export-account', 'prune-expired');
DROP INDEX conversations_deleted_at_idx;
DROP TABLE export_parts;
DROP TABLE exports;
DROP TABLE events;
DROP TABLE event_counters;
DROP TABLE usage_days;
