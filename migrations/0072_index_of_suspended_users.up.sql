-- no-transaction
-- Operators list suspended users, newest first. By `id + 0`, as in 0003: no other list is in this order.
CREATE INDEX CONCURRENTLY users_suspended_idx ON users ((id + 0)) WHERE suspended_at IS NOT NULL;
