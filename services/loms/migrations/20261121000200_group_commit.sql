-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Both sides of these are written by one transaction of ours, and orders and shelves are never deleted: the keys cost
-- ten look-ups and ten locks an order, and could only catch a bug that the audit catches too (decision 17).
ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey;
ALTER TABLE order_history DROP CONSTRAINT order_history_order_id_fkey;
ALTER TABLE holds DROP CONSTRAINT holds_order_id_fkey, DROP CONSTRAINT holds_sku_warehouse_id_fkey;
ALTER TABLE movements DROP CONSTRAINT movements_order_id_fkey, DROP CONSTRAINT movements_sku_warehouse_id_fkey;

-- Each hold is updated once, when it is resolved: with room in its page the index is left alone.
ALTER TABLE holds SET (fillfactor = 80);
-- migrate:down
