-- no-transaction
DROP INDEX CONCURRENTLY usage_days_day_idx;
