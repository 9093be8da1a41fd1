CREATE OR REPLACE FUNCTION ask_for_answer(
    -- Who asks, in which conversation; null: a new one, with the excerpt as its title.
    asker bigint, asked_in bigint,
    -- The words of a new question, and the message that it is another version of; or the question that exists.
    words text, version_of bigint, asked bigint, excerpt text,
    -- The key of the request: one that was used before `key_not_before` has expired. Null: there is none.
    request_key text, request_digest bytea, key_not_before timestamptz,
    most_in_conversation integer, most_unfinished integer, most_running integer,
    reserved bigint, shown jsonb,
    -- The job of the answer, which waits for `waiting_delay` if another answer comes first.
    job_id text, job_queue text, job_attempts integer, job_metadata_keys text[], job_metadata text[],
    waiting_delay double precision,
    -- Whether the events are logged here; if not, by the caller.
    logs boolean, asked_at timestamptz,
    -- `stored`, or why nothing was.
    OUT outcome text,
    OUT conversation bigint, OUT parent bigint, OUT question bigint, OUT answer bigint,
    -- Whether the conversation is new or got its title, and the number of the last event.
    OUT retitled boolean, OUT last_event bigint,
    -- With `key_used`: the request, whose question and answer are null if they were deleted.
    OUT first_digest bytea,
    -- With `busy`: the first unfinished answer.
    OUT unfinished bigint
) LANGUAGE plpgsql AS $$
DECLARE
    running bigint;
    started bigint;
    here bigint[];
    kinds text[] := '{}';
    payloads jsonb[] := '{}';
BEGIN
    PERFORM FROM users WHERE id = asker AND erased_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        outcome := 'user_gone';
        RETURN;
    END IF;
    IF request_key IS NOT NULL THEN
        SELECT k.request_hash, k.user_message_id, k.answer_id INTO first_digest, question, answer
        FROM idempotency_keys k WHERE k.user_id = asker AND k.key = request_key AND k.created_at >= key_not_before;
        IF FOUND THEN
            question := (SELECT m.id FROM messages m WHERE m.id = question);
            answer := (SELECT m.id FROM messages m WHERE m.id = answer);
            outcome := 'key_used';
            RETURN;
        END IF;
    END IF;
    IF asked_in IS NOT NULL THEN
        SELECT c.id, c.title IS NULL INTO conversation, retitled
        FROM conversations c WHERE c.id = asked_in AND c.user_id = asker AND c.deleted_at IS NULL FOR UPDATE;
        IF NOT FOUND THEN
            outcome := 'no_conversation';
            RETURN;
        END IF;
    END IF;
    SELECT count(*), count(*) FILTER (WHERE m.attempt > 0),
           COALESCE(array_agg(m.id ORDER BY m.id) FILTER (WHERE m.conversation_id = asked_in), '{}')
    INTO running, started, here FROM messages m WHERE m.user_id = asker AND m.running;
    IF cardinality(here) >= most_in_conversation THEN
        outcome := 'busy';
        unfinished := here[1];
        RETURN;
    END IF;
    IF running >= most_unfinished THEN
        outcome := 'too_many';
        RETURN;
    END IF;

    IF asked_in IS NULL THEN
        INSERT INTO conversations (user_id, title, title_source, last_message_at, created_at, updated_at, message_count)
        VALUES (asker, excerpt, 'excerpt', asked_at, asked_at, asked_at, 2) RETURNING id INTO conversation;
        retitled := true;
    ELSE
        UPDATE conversations c
        SET message_count = message_count + CASE WHEN asked IS NULL THEN 2 ELSE 1 END, last_message_at = asked_at,
            updated_at = asked_at, title = COALESCE(title, excerpt),
            title_source = CASE WHEN title IS NULL THEN 'excerpt' ELSE title_source END
        WHERE c.id = conversation;
    END IF;
    question := asked;
    IF asked IS NULL THEN
        IF version_of IS NOT NULL THEN
            SELECT m.parent_id INTO parent FROM messages m WHERE m.id = version_of;
        ELSIF asked_in IS NOT NULL THEN
            SELECT max(m.id + 0) INTO parent FROM messages m WHERE m.conversation_id = conversation;
        END IF;
        INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at)
        VALUES (conversation, asker, parent, 'user', words, 'sent', asked_at, asked_at) RETURNING id INTO question;
    END IF;
    INSERT INTO messages (conversation_id, user_id, parent_id, role, content, status, created_at, updated_at, reserved_tokens, notice)
    VALUES (conversation, asker, question, 'assistant', '', 'sending', asked_at, asked_at, reserved, shown)
    RETURNING id INTO answer;
    IF request_key IS NOT NULL THEN
        INSERT INTO idempotency_keys AS k (user_id, key, request_hash, user_message_id, answer_id, created_at)
        VALUES (asker, request_key, request_digest, question, answer, asked_at)
        ON CONFLICT (user_id, key) DO UPDATE
        SET request_hash = EXCLUDED.request_hash, user_message_id = EXCLUDED.user_message_id,
            answer_id = EXCLUDED.answer_id, created_at = EXCLUDED.created_at;
    END IF;
    -- The payload and the owner as the crate `queue` writes them. Users with few unfinished answers come before users with many.
    INSERT INTO apalis.jobs (id, job, job_type, status, attempts, max_attempts, run_at, priority, idempotency_key, metadata)
    VALUES (job_id, convert_to(format('{"message_id":%s}', answer), 'UTF8'), job_queue, 'Pending', 0, job_attempts,
            now() + make_interval(secs => CASE WHEN cardinality(here) > 0 OR (most_running > 0 AND started >= most_running)
                                               THEN waiting_delay ELSE 0 END),
            -running, answer::text,
            hstore(job_metadata_keys, job_metadata)
            || hstore(ARRAY['user', 'conversation'], ARRAY[asker::text, conversation::text]));
    IF logs THEN
        IF retitled THEN
            kinds := array_append(kinds, 'conversation');
            payloads := array_append(payloads, jsonb_build_object('conversation_id', conversation));
        END IF;
        IF asked IS NULL THEN
            kinds := array_append(kinds, 'message');
            payloads := array_append(payloads, jsonb_build_object('conversation_id', conversation, 'message_id', question));
        END IF;
        kinds := array_append(kinds, 'message');
        payloads := array_append(payloads, jsonb_build_object('conversation_id', conversation, 'message_id', answer));
        last_event := log_events(asker, kinds, payloads, asked_at);
    END IF;
    outcome := 'stored';
END $$;
CREATE OR REPLACE FUNCTION finish_answer(
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
ALTER TABLE answer_attempts DROP COLUMN ttft_ms;
ALTER TABLE messages
    DROP COLUMN retried_after,
    DROP COLUMN attempt_notes,
    DROP COLUMN attempt_workers,
    DROP COLUMN attempt_starts,
    DROP COLUMN trace_id,
    DROP COLUMN request_id;
