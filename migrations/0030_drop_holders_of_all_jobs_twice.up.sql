-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS apalis.lidx;
