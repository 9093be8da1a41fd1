DROP TABLE switches;
DROP FUNCTION announce_switches();
