-- no-transaction
DROP INDEX CONCURRENTLY files_unattached_idx;
