DROP TABLE avatar_pictures;
DROP FUNCTION list_object_of_avatar();
