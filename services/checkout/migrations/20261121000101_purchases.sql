-- migrate:up
SET LOCAL lock_timeout = '5s';

-- A cart on its way to an order. It is written before LOMS is asked, so that whoever comes later can finish it.
CREATE TABLE purchases (
    -- Part of the request id at LOMS, so never given twice: not even by a database restored from a backup.
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id     bigint NOT NULL REFERENCES carts (user_id),
    caller      text NOT NULL,
    request_id  text,  -- null where the caller gave none
    body_hash   bytea NOT NULL,
    lines       jsonb NOT NULL CHECK (jsonb_array_length(lines) > 0),  -- [{sku, count, name, price}] as bought
    total_price bigint NOT NULL CHECK (total_price >= 0),  -- minor units
    currency    text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'refused')),
    order_id    bigint CHECK (order_id > 0),  -- of a refused one: the order that LOMS keeps as failed, if it does
    refusal     bytea,  -- google.rpc.Status, for those who asked at the same time
    tries       integer NOT NULL DEFAULT 0 CHECK (tries >= 0),  -- of the worker
    try_at      timestamptz NOT NULL,  -- when the worker is to finish it
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CHECK ((state = 'open') = (finished_at IS NULL)),
    CHECK ((state = 'refused') = (refusal IS NOT NULL)),
    CHECK (state <> 'done' OR order_id IS NOT NULL),
    CHECK (state <> 'open' OR order_id IS NULL)
);
-- What was refused gives its request id free.
CREATE UNIQUE INDEX purchases_one_per_request ON purchases (caller, request_id) WHERE state <> 'refused';
CREATE INDEX purchases_by_request ON purchases (caller, request_id, id) WHERE request_id IS NOT NULL;
CREATE UNIQUE INDEX purchases_one_open_per_user ON purchases (user_id) WHERE state = 'open';
CREATE INDEX purchases_open_by_try_at ON purchases (try_at) WHERE state = 'open';
-- migrate:down
