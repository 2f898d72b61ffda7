-- migrate:up
SET LOCAL lock_timeout = '5s';

-- What the customer of a placed order said: where to, and how it is to be paid. An order of CreateOrder has none.
CREATE TABLE order_addresses (
    order_id bigint PRIMARY KEY REFERENCES orders,
    country  text NOT NULL CHECK (length(country) BETWEEN 1 AND 200),
    region   text NOT NULL CHECK (length(region) BETWEEN 1 AND 200),
    city     text NOT NULL CHECK (length(city) BETWEEN 1 AND 200),
    street   text NOT NULL CHECK (length(street) BETWEEN 1 AND 200),
    -- A token begins with a letter: a card's own number cannot get here.
    card     text NOT NULL DEFAULT '' CHECK (card ~ '^([A-Za-z][A-Za-z0-9_-]{0,63})?$'),
    phone    text NOT NULL DEFAULT '' CHECK (phone ~ '^(\+[1-9][0-9]{6,14})?$'),
    CONSTRAINT order_addresses_one_means_of_payment CHECK (card = '' OR phone = '')
);

-- For the end of those that nobody reserves; an order of CreateOrder is never in it.
CREATE INDEX orders_new ON orders (created_at) WHERE status = 'new';
-- migrate:down
