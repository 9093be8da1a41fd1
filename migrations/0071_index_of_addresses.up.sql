-- no-transaction
-- Operators look for users whose address begins with something. With the id, so that the few or many that do are put into the order
-- of the list without reading their rows.
CREATE INDEX CONCURRENTLY users_email_prefix_idx ON users (email text_pattern_ops, id);
