-- no-transaction
-- Who has changed this one: among everything that was done in 400 days.
CREATE INDEX CONCURRENTLY operator_actions_target_idx ON operator_actions (target, id) WHERE target IS NOT NULL;
