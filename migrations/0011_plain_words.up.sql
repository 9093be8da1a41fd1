-- Stored words follow the glossary. Nothing reads the old ones any more.

-- A title that is the beginning of the first message is an excerpt of it.
ALTER TABLE conversations DROP CONSTRAINT conversations_title_source_check;
UPDATE conversations SET title_source = 'excerpt' WHERE title_source = 'cut';
ALTER TABLE conversations ADD CONSTRAINT conversations_title_source_check
    CHECK (title_source IN ('none', 'excerpt', 'model', 'user'));
