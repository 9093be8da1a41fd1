-- What operators have changed: who, what, and what came of it. A row is written in the transaction of the act, is never changed, and
-- is deleted after 400 days and not before.
CREATE TABLE operator_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    operator text NOT NULL,
    via text NOT NULL,
    -- The noun and the verb: files.delete.
    action text NOT NULL,
    -- The id of what it was done to.
    target text,
    -- Without secrets, addresses and words of people.
    arguments jsonb NOT NULL,
    -- What it failed for; null when it was done.
    failure text
);
CREATE INDEX operator_actions_at_idx ON operator_actions (at);

CREATE FUNCTION keep_operator_actions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.at < now() - interval '400 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'operator_actions are kept as they are for 400 days' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER operator_actions_kept BEFORE UPDATE OR DELETE ON operator_actions
    FOR EACH ROW EXECUTE FUNCTION keep_operator_actions();
CREATE TRIGGER operator_actions_not_truncated BEFORE TRUNCATE ON operator_actions
    FOR EACH STATEMENT EXECUTE FUNCTION keep_operator_actions();
