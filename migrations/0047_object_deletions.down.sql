DROP TRIGGER files_deleted ON files;
DROP FUNCTION list_object_of_file();
DROP TABLE object_deletions;
