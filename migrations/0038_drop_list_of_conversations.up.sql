-- no-transaction
-- conversations_page_idx took its place.
DROP INDEX CONCURRENTLY conversations_list_idx;
