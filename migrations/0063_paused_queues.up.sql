-- Queues that operators have paused: no worker claims a job of theirs until the row is deleted. What runs already finishes.
CREATE TABLE paused_queues (
    queue text PRIMARY KEY,
    -- For other operators.
    reason text NOT NULL,
    operator text NOT NULL,
    paused_at timestamptz NOT NULL
);

-- Workers read the table with every heartbeat, and at once when they are told.
CREATE FUNCTION notify_paused_queues() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cura_queue_paused', '');
    RETURN NULL;
END $$;
CREATE TRIGGER paused_queues_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON paused_queues
    FOR EACH STATEMENT EXECUTE FUNCTION notify_paused_queues();
