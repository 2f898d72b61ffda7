-- migrate:up
SET LOCAL lock_timeout = '5s';

-- One row a user: whoever changes the lines of a cart, or buys it, holds this row.
CREATE TABLE carts (
    user_id    bigint PRIMARY KEY CHECK (user_id > 0),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE cart_lines (
    user_id  bigint NOT NULL REFERENCES carts (user_id),
    sku      bigint NOT NULL CHECK (sku BETWEEN 1 AND 4294967295),
    count    integer NOT NULL CHECK (count BETWEEN 1 AND 65535),
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, sku)
);
-- migrate:down
