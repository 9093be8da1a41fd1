-- What operators have switched off, or on again. What has no row is on. Servers hear of a change, and read the rows every second
-- (src/app/switches.rs).
CREATE TABLE switches (
    name text PRIMARY KEY CHECK (name IN ('registration', 'uploads')),
    is_on boolean NOT NULL,
    reason text NOT NULL,
    changed_at timestamptz NOT NULL
);

CREATE FUNCTION announce_switches() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cura_switches', '');
    RETURN NULL;
END $$;
CREATE TRIGGER switches_changed AFTER INSERT OR UPDATE OR DELETE ON switches
    FOR EACH STATEMENT EXECUTE FUNCTION announce_switches();
