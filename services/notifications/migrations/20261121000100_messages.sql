-- migrate:up
SET LOCAL lock_timeout = '5s';

-- How customers are reached: the newest contact of each, as identity publishes it.
CREATE TABLE contacts (
    user_id    bigint PRIMARY KEY CHECK (user_id > 0),
    first_name text NOT NULL,
    last_name  text NOT NULL,
    email      text NOT NULL,  -- empty: none
    phone      text NOT NULL CHECK (phone = '' OR phone ~ '^\+[1-9][0-9]{6,14}$'),
    language   text NOT NULL CHECK (language IN ('ru', 'en')),
    updated_at timestamptz NOT NULL
);

-- waiting <-> queued -> sent | failed; waiting -> undeliverable. Nothing is ever deleted.
CREATE TABLE messages (
    message_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id        text NOT NULL,
    user_id         bigint NOT NULL CHECK (user_id > 0),
    order_id        bigint NOT NULL CHECK (order_id > 0),
    order_version   integer NOT NULL CHECK (order_version > 0),
    order_status    text NOT NULL,  -- name in the contract, without its prefix, in lower case
    channel         text NOT NULL CHECK (channel IN ('email', 'sms')),
    status          text NOT NULL DEFAULT 'waiting'
                    CHECK (status IN ('waiting', 'queued', 'sent', 'failed', 'undeliverable')),
    event           jsonb NOT NULL,  -- what it tells, until it is rendered for sending
    address         text NOT NULL DEFAULT '',
    subject         text NOT NULL DEFAULT '',
    text            text NOT NULL DEFAULT '',
    attempts        integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz DEFAULT clock_timestamp(),
    error           text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at         timestamptz,
    -- One change of an order is told once by each channel, however often its event comes.
    CONSTRAINT messages_once UNIQUE (order_id, order_version, channel),
    CHECK ((status IN ('waiting', 'queued')) = (next_attempt_at IS NOT NULL)),
    CHECK ((status = 'sent') = (sent_at IS NOT NULL)),
    CHECK (status NOT IN ('queued', 'sent') OR address <> '')
);
CREATE INDEX messages_due ON messages (channel, status, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX messages_waiting ON messages (user_id) WHERE status = 'waiting';
CREATE INDEX messages_of_user ON messages (user_id, message_id);
CREATE INDEX messages_of_status ON messages (status, message_id);
-- migrate:down
