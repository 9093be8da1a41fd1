-- no-transaction
DROP INDEX CONCURRENTLY conversations_page_idx;
