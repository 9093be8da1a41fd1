-- no-transaction
-- 0054 takes the column away.
SELECT 1;
