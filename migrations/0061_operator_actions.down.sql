DROP TABLE operator_actions;
DROP FUNCTION keep_operator_actions();
