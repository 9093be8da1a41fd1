-- no-transaction
-- conversations_page_idx took its place.
DROP INDEX CONCURRENTLY conversations_user_id_idx;
