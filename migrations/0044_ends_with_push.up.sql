-- `finish_answer` of migration 0033 with one thing more: the job that pushes the answer. Beside the other one, which workers of the
-- last release still call; a later release drops that.
--
-- The end of an answer by the attempt that wrote it, in the order of locks that the crate `answers` describes. Done here and in
-- `Finishing` (src/answers/finish.rs): change both. The job is completed as src/queue/completer.rs does. Nothing is written when the
-- attempt is superseded, or its person is being erased (`others_wait` is null then), or when answers of the person wait that may have
-- to start (`others_wait`).
CREATE FUNCTION finish_answer(
    of_user bigint, of_conversation bigint, of_message bigint, of_attempt integer,
    new_status text, new_finish_reason text, new_error_code text, new_content text, new_ttft_ms bigint,
    -- What the attempt cost; without a provider, nothing.
    attempt_outcome text, attempt_answers integer, attempt_provider text, attempt_model text, attempt_input bigint,
    attempt_output bigint, attempt_estimated boolean, attempt_reasoning bigint,
    -- The job that does this, as it was claimed; it is done with the answer.
    claimed_job text, claimed_by text, claimed_attempt integer,
    -- The job that asks for a title, if the present one is only an excerpt; null for none.
    title_job text, title_queue text, title_payload bytea, title_attempts integer, title_delay double precision, title_key text,
    title_metadata_keys text[], title_metadata_values text[],
    -- The job that pushes the answer, if there is a device to push it to; null for none.
    push_job text, push_queue text, push_payload bytea, push_attempts integer, push_delay double precision, push_key text,
    push_metadata_keys text[], push_metadata_values text[],
    at timestamptz, on_day date,
    OUT logged bigint, OUT acknowledged boolean, OUT others_wait boolean
) LANGUAGE plpgsql AS $$
#variable_conflict error
DECLARE
    is_deleted boolean;
    is_excerpt boolean;
    spent record;
BEGIN
    PERFORM FROM users u
    WHERE u.id = of_user AND u.erased_at IS NULL
      AND EXISTS (SELECT FROM messages m WHERE m.id = of_message AND m.status = 'sending' AND m.attempt = of_attempt)
    FOR KEY SHARE OF u;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT c.deleted_at IS NOT NULL, c.title_source = 'excerpt' INTO is_deleted, is_excerpt
    FROM conversations c WHERE c.id = of_conversation FOR NO KEY UPDATE;

    PERFORM FROM messages m
    WHERE m.id = of_message AND m.status = 'sending' AND m.attempt = of_attempt FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT EXISTS (SELECT FROM messages w
                   WHERE w.user_id = of_user AND w.running AND w.attempt = 0 AND w.id <> of_message)
    INTO others_wait;
    IF others_wait THEN
        RETURN;
    END IF;

    -- Nothing is written before it is known that the answer ends here.
    UPDATE conversations c SET last_message_at = at, updated_at = at WHERE c.id = of_conversation;
    -- By the id, whatever the planner knows of the table: no index has the other expressions.
    UPDATE apalis.jobs j
    SET status = 'Done', last_result = '{"Ok": null}', done_at = now(), lock_by = NULL, lock_at = NULL
    WHERE j.id = claimed_job AND j.lock_by || '' = claimed_by AND j.attempts = claimed_attempt AND j.status || '' = 'Running';
    acknowledged := FOUND;
    IF title_job IS NOT NULL AND is_excerpt AND NOT is_deleted THEN
        INSERT INTO apalis.jobs
            (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
        VALUES (title_job, title_payload, title_queue, 'Pending', 0, title_attempts, now() + make_interval(secs => title_delay),
                0, title_key, hstore(title_metadata_keys, title_metadata_values))
        ON CONFLICT (job_type, idempotency_key) DO NOTHING;
    END IF;
    IF push_job IS NOT NULL AND NOT is_deleted
       AND EXISTS (SELECT FROM devices d WHERE d.user_id = of_user AND d.is_active AND d.removed_at IS NULL) THEN
        INSERT INTO apalis.jobs
            (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
        VALUES (push_job, push_payload, push_queue, 'Pending', 0, push_attempts, now() + make_interval(secs => push_delay),
                0, push_key, hstore(push_metadata_keys, push_metadata_values))
        ON CONFLICT (job_type, idempotency_key) DO NOTHING;
    END IF;

    SELECT sum(a.input_tokens)::bigint AS input, sum(a.output_tokens)::bigint AS output, bool_or(a.estimated) AS estimated,
           sum(a.reasoning_tokens)::bigint AS reasoning
    INTO spent FROM answer_attempts a WHERE a.message_id = of_message AND a.attempt <> of_attempt;
    IF attempt_provider IS NOT NULL THEN
        INSERT INTO answer_attempts
            (message_id, attempt, user_id, outcome, provider, model, input_tokens, output_tokens, estimated, ended_at,
             reasoning_tokens)
        VALUES (of_message, of_attempt, of_user, attempt_outcome, attempt_provider, attempt_model, attempt_input,
                attempt_output, attempt_estimated, at, attempt_reasoning)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            INSERT INTO usage_days AS u (user_id, day, model, messages, input_tokens, output_tokens)
            VALUES (of_user, on_day, attempt_model, attempt_answers, attempt_input, attempt_output)
            ON CONFLICT (user_id, day, model) DO UPDATE
            SET messages = u.messages + EXCLUDED.messages, input_tokens = u.input_tokens + EXCLUDED.input_tokens,
                output_tokens = u.output_tokens + EXCLUDED.output_tokens;
        END IF;
    END IF;

    -- The event that says that the conversation has changed, then the end, which must be the last about the answer.
    logged := log_events(
        of_user, ARRAY['conversation', 'ended'],
        ARRAY[jsonb_build_object('conversation_id', of_conversation),
              jsonb_build_object('conversation_id', of_conversation, 'message_id', of_message)],
        at);

    -- Last, so that the row is written once, with the number of its end; it is locked since it was found unfinished.
    UPDATE messages m
    SET status = new_status, finish_reason = new_finish_reason, error_code = new_error_code, content = new_content,
        provider = COALESCE(attempt_provider, m.provider), model = COALESCE(attempt_model, m.model),
        input_tokens = COALESCE(attempt_input + COALESCE(spent.input, 0), spent.input),
        output_tokens = COALESCE(attempt_output + COALESCE(spent.output, 0), spent.output),
        usage_estimated = COALESCE(attempt_estimated OR COALESCE(spent.estimated, false), spent.estimated),
        reasoning_tokens = COALESCE(attempt_reasoning + COALESCE(spent.reasoning, 0), spent.reasoning),
        ttft_ms = COALESCE(m.ttft_ms, new_ttft_ms), updated_at = at, end_seq = logged,
        latency_ms = (EXTRACT(EPOCH FROM at - m.created_at) * 1000)::bigint
    WHERE m.id = of_message;
END $$;
