ALTER TABLE conversations DROP CONSTRAINT conversations_title_source_check;
UPDATE conversations SET title_source = 'cut' WHERE title_source = 'excerpt';
ALTER TABLE conversations ADD CONSTRAINT conversations_title_source_check
    CHECK (title_source IN ('none', 'cut', 'model', 'user'));
