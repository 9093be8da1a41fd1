DROP TABLE file_texts;
-- So that their objects are listed for deletion.
DELETE FROM file_pictures;
DROP TABLE file_pictures;
DROP FUNCTION list_object_of_picture();
