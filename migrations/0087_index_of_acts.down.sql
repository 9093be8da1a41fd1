-- no-transaction
DROP INDEX CONCURRENTLY operator_actions_target_idx;
