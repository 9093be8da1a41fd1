DROP TABLE push_sends;
DROP TABLE pushes;
