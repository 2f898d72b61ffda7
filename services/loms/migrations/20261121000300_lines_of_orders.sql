-- migrate:up
SET LOCAL lock_timeout = '5s';

-- Lines never change and are read with their order, always: they are a value of it (decision 18).
ALTER TABLE orders ADD COLUMN lines jsonb;  -- [[sku, units, name, price of one], ...] in order of sku, prices in minor units
UPDATE orders
   SET lines = (
       SELECT jsonb_agg(jsonb_build_array(sku, count, name, price) ORDER BY sku)
         FROM order_items
        WHERE order_id = orders.id);
ALTER TABLE orders
    ALTER COLUMN lines SET NOT NULL,
    -- Lines that are good are counted, so that one of another shape, about which a path knows nothing, is not.
    ADD CONSTRAINT orders_lines_are_good CHECK (
        jsonb_array_length(lines) > 0
        AND jsonb_array_length(lines) = jsonb_array_length(jsonb_path_query_array(
            lines, 'strict $[*] ? (@.size() == 4 && @[0] > 0 && @[1] >= 1 && @[1] <= 65535 && @[2].type() == "string" && @[3] >= 0)'))
    );
DROP TABLE order_items;
-- migrate:down
