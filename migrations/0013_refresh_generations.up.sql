-- A refresh token says itself of which session and generation it is, under a MAC. The session's row knows the newest
-- generation; refresh_tokens, a row for each token ever given out, gets no more rows.
--
-- Tokens from before are still found by their row, once: the session then goes on with generations. While servers of
-- both releases run, one from before calls the new tokens invalid.
-- A later release, more than SESSION_MAX_DAYS after this one, drops refresh_tokens and the columns current_token,
-- previous_token and current_seed.
SET LOCAL lock_timeout = '2s';

ALTER TABLE sessions
    -- The newest generation that was given out. Constant defaults: no row is rewritten.
    ADD COLUMN generation integer NOT NULL DEFAULT 0,
    -- Tokens of generations before this one are dead, whatever the grace says.
    ADD COLUMN oldest_generation integer NOT NULL DEFAULT 0,
    -- Whether the newest generation was presented, as access token or refresh token.
    ADD COLUMN generation_used boolean NOT NULL DEFAULT false,
    -- Random; part of every refresh token of the session. Null: its refresh token is from before.
    ADD COLUMN seed bytea,
    ALTER COLUMN current_token DROP NOT NULL;
