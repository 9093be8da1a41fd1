-- So that their objects are listed for deletion.
DELETE FROM avatar_pictures;
UPDATE users SET avatar_url = NULL WHERE avatar_url IS NOT NULL;
DROP TABLE avatar_pictures;
DROP FUNCTION list_object_of_avatar();
