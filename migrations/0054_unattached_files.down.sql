DROP TRIGGER message_files_inserted ON message_files;
DROP TRIGGER message_files_deleted ON message_files;
DROP FUNCTION mark_attached;
DROP FUNCTION mark_unattached;
ALTER TABLE files DROP COLUMN unattached_since;
