-- migrate:up
SET LOCAL lock_timeout = '5s';

-- A request with an id that had an effect, with its first answer: a repeat is given that answer again.
CREATE TABLE requests (
    caller     text NOT NULL,
    method     text NOT NULL,
    request_id text NOT NULL,
    body_hash  bytea NOT NULL,
    answer     bytea,  -- null only within the transaction that makes it
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,  -- null: kept as long as the effect
    PRIMARY KEY (caller, method, request_id)
);
CREATE INDEX requests_expires_at ON requests (expires_at) WHERE expires_at IS NOT NULL;

-- Events that joined the transaction of their cause and wait for the relay.
CREATE TABLE outbox (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- no CACHE: of one key, id order is commit order
    event_id     uuid NOT NULL DEFAULT uuidv7(),
    topic        text NOT NULL,
    key          text NOT NULL,
    type         text NOT NULL,
    payload      text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    published_at timestamptz
);
CREATE INDEX outbox_unpublished ON outbox (id) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- Events whose effect this database has: the wire may repeat, the effect does not.
CREATE TABLE inbox (
    topic       text NOT NULL,
    event_id    text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, event_id)
);
CREATE INDEX inbox_received_at ON inbox (received_at);

-- Messages that can never be handled as they are; `replay` tries them again.
CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text NOT NULL,
    partition   integer NOT NULL,
    "offset"    bigint NOT NULL,
    sent_at     timestamptz NOT NULL,
    key         bytea NOT NULL,
    headers     jsonb NOT NULL,
    payload     bytea NOT NULL,
    reason      text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    replayed_at timestamptz,
    UNIQUE (topic, partition, "offset", sent_at)  -- with the time, because a topic may be made anew
);
-- migrate:down
