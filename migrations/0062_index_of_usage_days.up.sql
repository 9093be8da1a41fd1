-- no-transaction
-- What everybody used since a day, for operators.
CREATE INDEX CONCURRENTLY usage_days_day_idx ON usage_days (day);
