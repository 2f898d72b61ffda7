-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Messages about other things than orders, some of them secret. Of those, after a week, nothing is kept.
ALTER TABLE messages
    ALTER COLUMN user_id DROP NOT NULL,  -- null: somebody who registered elsewhere
    ALTER COLUMN order_id DROP NOT NULL,
    ALTER COLUMN order_version DROP NOT NULL,
    ALTER COLUMN order_status DROP NOT NULL,
    ALTER COLUMN event DROP NOT NULL,  -- null: what it tells is secret
    ADD COLUMN kind text,  -- what it tells; null: its order_status says it
    ADD COLUMN about text,  -- what it tells of: that is told once
    ADD COLUMN by_contact boolean NOT NULL DEFAULT true,  -- else to the address that it came with
    ADD COLUMN sealed text,  -- what it tells, and to whom, for our private key alone; until it is sent or given up
    ADD COLUMN expires_at timestamptz,
    ADD CONSTRAINT messages_of_an_order_or_another_kind
        CHECK (num_nulls(order_id, order_version, order_status) = 0 AND num_nulls(kind, about) = 2
            OR num_nulls(order_id, order_version, order_status) = 3 AND num_nulls(kind, about) = 0),
    ADD CONSTRAINT messages_by_contact_of_a_user CHECK (user_id IS NOT NULL OR NOT by_contact),
    ADD CONSTRAINT messages_sealed_until_done
        CHECK (event IS NOT NULL AND sealed IS NULL
            OR event IS NULL AND (sealed IS NOT NULL) = (status = 'queued')),
    ADD CONSTRAINT messages_secret_text_not_kept CHECK (event IS NOT NULL OR text = ''),
    ADD CONSTRAINT messages_secrets_expire CHECK (event IS NOT NULL OR expires_at IS NOT NULL AND NOT by_contact),
    DROP CONSTRAINT messages_check2,
    ADD CONSTRAINT messages_addressed
        CHECK (status NOT IN ('queued', 'sent') OR address <> '' OR sealed IS NOT NULL);
CREATE UNIQUE INDEX messages_once_about ON messages (kind, about) WHERE about IS NOT NULL;
CREATE INDEX messages_sealed ON messages (expires_at) WHERE sealed IS NOT NULL;
CREATE INDEX messages_secret ON messages (expires_at) WHERE event IS NULL;
-- migrate:down
