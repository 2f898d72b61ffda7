-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Purchases of a list (PlaceOrder) beside those of a cart. Until it is closed, a list is `placing`, never `open`: one open
-- purchase a user is a rule of carts, and code older than this, which would order a list as a cart, passes it by.
ALTER TABLE purchases
    ADD COLUMN method text NOT NULL DEFAULT 'Purchase',  -- of the caller; the scope of request_id, with caller
    ADD COLUMN form jsonb,  -- address and means of payment {field of the order: what was filled in}: personal
    ADD COLUMN ordered_at timestamptz,  -- when LOMS made the order of a list
    DROP CONSTRAINT purchases_user_id_fkey,  -- who buys a list may never have had a cart
    DROP CONSTRAINT purchases_state_check,
    DROP CONSTRAINT purchases_check,
    DROP CONSTRAINT purchases_check3,
    ADD CONSTRAINT purchases_user_positive CHECK (user_id > 0),
    ADD CONSTRAINT purchases_method_known CHECK (method IN ('Purchase', 'PlaceOrder')),
    ADD CONSTRAINT purchases_state_known
        CHECK (state IN (CASE method WHEN 'Purchase' THEN 'open' ELSE 'placing' END, 'done', 'refused')),
    ADD CONSTRAINT purchases_finished_when_closed CHECK ((state IN ('open', 'placing')) = (finished_at IS NULL)),
    ADD CONSTRAINT purchases_order_when_closed CHECK (finished_at IS NOT NULL OR order_id IS NULL),
    ADD CONSTRAINT purchases_form_until_closed CHECK ((state = 'placing') = (form IS NOT NULL)),
    ADD CONSTRAINT purchases_ordered_when_placed
        CHECK ((method = 'PlaceOrder' AND state = 'done') = (ordered_at IS NOT NULL));
DROP INDEX purchases_one_per_request;
CREATE UNIQUE INDEX purchases_one_per_request ON purchases (caller, method, request_id) WHERE state <> 'refused';
DROP INDEX purchases_open_by_try_at;
CREATE INDEX purchases_unfinished_by_try_at ON purchases (try_at) WHERE state IN ('open', 'placing');
-- migrate:down
