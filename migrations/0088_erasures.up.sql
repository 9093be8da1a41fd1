-- Who was erased, and when: a backup from before brings them back, and by this list a restore erases them again. An id that is nobody's
-- any more says nothing about a person. Each is an object of the file store, too, because the database itself may be what is lost.
CREATE TABLE erasures (
    -- Without gaps, so that the objects can be found without listing any.
    number bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    -- With the id, it means this person in a database of another installation, too, where the id is somebody else's.
    registered_at timestamptz NOT NULL,
    erased_at timestamptz NOT NULL,
    CONSTRAINT erasures_person_key UNIQUE (user_id, registered_at)
);
