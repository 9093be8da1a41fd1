-- So that their objects are listed for deletion.
DELETE FROM export_objects;
DROP TABLE export_objects;
DROP FUNCTION list_object_of_export();
