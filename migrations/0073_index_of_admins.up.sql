-- no-transaction
-- Operators list admins, newest first, and who takes away the rights of one locks all of them.
CREATE INDEX CONCURRENTLY users_admin_idx ON users ((id + 0)) WHERE is_admin;
