DROP FUNCTION ask_for_answer, log_events;
