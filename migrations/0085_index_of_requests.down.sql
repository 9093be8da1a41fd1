-- no-transaction
DROP INDEX CONCURRENTLY messages_request_id_idx;
