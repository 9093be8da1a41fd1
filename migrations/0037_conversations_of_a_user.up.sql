-- no-transaction
-- In the place of two: the pages of a user's list, and all conversations of a user.
CREATE INDEX CONCURRENTLY conversations_page_idx ON conversations (user_id, status, last_message_at DESC, id DESC);
