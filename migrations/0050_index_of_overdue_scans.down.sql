-- no-transaction
DROP INDEX CONCURRENTLY files_scanning_idx;
