-- References that Postgres looked up for every row of an answer, though others already hold what they held: nine lookups less
-- for each question, a fifth of what Postgres spends on it together with the indexes that the next migrations drop.

-- Changes nothing but who waits for whom: a foreign key is dropped with a lock on both tables, and requests lock the user first.
ALTER TABLE users ALTER COLUMN language SET DEFAULT 'en';

-- A message goes with its conversation, which goes with its user.
ALTER TABLE messages DROP CONSTRAINT messages_user_id_fkey;
-- An attempt goes with its answer.
ALTER TABLE answer_attempts DROP CONSTRAINT answer_attempts_user_id_fkey;
-- A key outlives what was stored with it: whoever reads one looks whether that still exists. Ids are not used again.
ALTER TABLE idempotency_keys
    DROP CONSTRAINT idempotency_keys_user_message_id_fkey,
    DROP CONSTRAINT idempotency_keys_answer_id_fkey;
-- Events are only written by who holds the lock on their counter, which goes with its user. So whoever deletes a counter sees all
-- events that it has counted.
ALTER TABLE events DROP CONSTRAINT events_user_id_fkey;
CREATE FUNCTION delete_counted_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM events WHERE user_id = OLD.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER event_counters_deleted AFTER DELETE ON event_counters
FOR EACH ROW EXECUTE FUNCTION delete_counted_events();

-- As in 0026, but for the ids of a key that was used before.
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
