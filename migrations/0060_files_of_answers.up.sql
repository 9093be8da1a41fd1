ALTER TABLE messages
    -- How much of each file the model was given for an answer: a list of {id, used, pages?, page_count?}; NULL where no message of its
    -- prompt had a file.
    ADD COLUMN files_used jsonb,
    -- An estimate of the tokens of that prompt.
    ADD COLUMN prompt_tokens bigint;
