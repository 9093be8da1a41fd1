-- no-transaction
CREATE INDEX CONCURRENTLY conversations_user_id_idx ON conversations (user_id);
