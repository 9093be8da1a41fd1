DROP TABLE paused_queues;
DROP FUNCTION notify_paused_queues;
