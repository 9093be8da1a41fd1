-- no-transaction
-- Operators list files of one status, newest first. By `id + 0`, as in 0003: no other list is in this order. Those that are being stored
-- are few, and have an index of their own.
CREATE INDEX CONCURRENTLY files_status_idx ON files (status, (id + 0)) WHERE status <> 'storing';
