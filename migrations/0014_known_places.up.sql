-- Where a user has signed in from, as keyed hashes of addresses: at these places, failed sign-ins of others do not make them wait.
SET LOCAL lock_timeout = '2s';

CREATE TABLE known_places (
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    place bytea NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, place)
);
