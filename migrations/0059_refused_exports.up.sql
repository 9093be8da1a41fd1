-- An archive that the file store does not take, whoever tries again: until the row expires no other one is made, and the person is told so
-- (instead of "it is being made"). A server of the release before says that it is being made.
ALTER TABLE exports ADD COLUMN is_refused boolean NOT NULL DEFAULT false;
