-- migrate:up
SET LOCAL lock_timeout = '5s';

CREATE TABLE products (
    sku        bigint PRIMARY KEY CHECK (sku BETWEEN 1 AND 4294967295),
    name_ru    text NOT NULL CHECK (char_length(name_ru) BETWEEN 1 AND 500),
    name_en    text NOT NULL CHECK (char_length(name_en) BETWEEN 1 AND 500),
    price      bigint NOT NULL CHECK (price BETWEEN 0 AND 1000000000000),  -- minor units
    currency   text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),  -- ISO 4217
    is_active  boolean NOT NULL,
    version    bigint NOT NULL DEFAULT 1 CHECK (version >= 1),  -- one more with each change
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- migrate:down
