DROP TABLE file_texts;
DROP TABLE file_pictures;
DROP FUNCTION list_object_of_picture();
