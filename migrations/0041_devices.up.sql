-- Where a person is told that an answer is there. A device belongs to the session that registered it.
CREATE TABLE devices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL CONSTRAINT devices_user_id_fkey REFERENCES users ON DELETE CASCADE,
    session_id bigint NOT NULL CONSTRAINT devices_session_id_fkey REFERENCES sessions ON DELETE CASCADE,
    platform text NOT NULL CHECK (platform IN ('ios', 'android', 'web')),
    kind text NOT NULL CHECK (kind IN ('fcm', 'fid', 'webpush')),
    -- SHA-256 of the kind and the address.
    address_hash bytea NOT NULL CONSTRAINT devices_address_hash_key UNIQUE,
    -- The token, the installation id or the endpoint; never shown.
    address text NOT NULL,
    -- The keys of a browser's subscription.
    p256dh bytea,
    auth bytea,
    -- Our public key for which it subscribed.
    vapid_key bytea,
    device_name text,
    is_active boolean NOT NULL DEFAULT true,
    inactive_since timestamptz,
    inactive_reason text CHECK (inactive_reason IN ('unseen', 'other_sender')),
    -- When its push service called it gone; the row goes a while later.
    removed_at timestamptz,
    last_active timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK ((kind = 'webpush') = (p256dh IS NOT NULL AND auth IS NOT NULL)),
    CHECK (is_active = (inactive_since IS NULL))
);
CREATE INDEX devices_user_id_idx ON devices (user_id);
CREATE INDEX devices_session_id_idx ON devices (session_id);
CREATE INDEX devices_last_active_idx ON devices (last_active) WHERE is_active;
CREATE INDEX devices_inactive_since_idx ON devices (inactive_since) WHERE NOT is_active;
CREATE INDEX devices_removed_at_idx ON devices (removed_at) WHERE removed_at IS NOT NULL;
-- What operators list, newest first. By `id + 0`, as in 0003: the planner must not walk the primary key past all other kinds.
CREATE INDEX devices_kind_idx ON devices (kind, (id + 0));
CREATE INDEX devices_inactive_kind_idx ON devices (kind, (id + 0)) WHERE NOT is_active OR removed_at IS NOT NULL;
