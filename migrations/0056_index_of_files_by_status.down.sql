-- no-transaction
DROP INDEX CONCURRENTLY files_status_idx;
