-- no-transaction
CREATE INDEX CONCURRENTLY conversations_list_idx ON conversations (user_id, status, last_message_at DESC, id DESC)
    WHERE deleted_at IS NULL;
