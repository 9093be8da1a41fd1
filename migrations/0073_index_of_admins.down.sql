-- no-transaction
DROP INDEX CONCURRENTLY users_admin_idx;
