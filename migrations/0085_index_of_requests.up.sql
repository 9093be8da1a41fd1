-- no-transaction
-- People quote the id of a request. Only answers have one.
CREATE INDEX CONCURRENTLY messages_request_id_idx ON messages (request_id) WHERE request_id IS NOT NULL;
