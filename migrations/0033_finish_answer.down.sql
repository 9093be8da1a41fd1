DROP FUNCTION finish_answer;
