-- The release before does not know refresh tokens with generations: sessions that have one would live without any.
DELETE FROM sessions WHERE current_token IS NULL;
ALTER TABLE sessions
    ALTER COLUMN current_token SET NOT NULL,
    DROP COLUMN seed,
    DROP COLUMN generation_used,
    DROP COLUMN oldest_generation,
    DROP COLUMN generation;
