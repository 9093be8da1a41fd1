-- What operators tell everybody who is connected until then. Servers hear of a change, and read what is to be told every second
-- (src/app/operator_changes.rs).
CREATE TABLE announcements (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    text text NOT NULL,
    until timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX announcements_until_idx ON announcements (until);

CREATE FUNCTION announce_announcements() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cura_announcements', '');
    RETURN NULL;
END $$;
CREATE TRIGGER announcements_changed AFTER INSERT OR UPDATE OR DELETE ON announcements
    FOR EACH STATEMENT EXECUTE FUNCTION announce_announcements();
