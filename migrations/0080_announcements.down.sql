DROP TABLE announcements;
DROP FUNCTION announce_announcements();
