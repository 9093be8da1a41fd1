-- What titles and summaries cost their person: reserved before the call, settled after it.
CREATE TABLE model_calls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT model_calls_user_id_fkey REFERENCES users ON DELETE CASCADE,
    -- No reference: what a deleted conversation cost is still counted.
    conversation_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('title', 'summary')),
    -- The estimated prompt, and that with the output limit that is sent to the provider.
    prompt_tokens bigint NOT NULL,
    reserved_tokens bigint NOT NULL,
    provider text,
    model text,
    input_tokens bigint,
    output_tokens bigint,
    estimated boolean,
    begun_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK ((ended_at IS NULL) = (input_tokens IS NULL))
);
CREATE INDEX model_calls_under_way_idx ON model_calls (user_id) WHERE ended_at IS NULL;
CREATE INDEX model_calls_user_id_idx ON model_calls (user_id);
CREATE INDEX model_calls_begun_at_idx ON model_calls (begun_at);
