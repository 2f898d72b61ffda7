-- CreateOrder as one function of the database: the best that one call for one order can do, as the yardstick of our own.
-- The same tables, rows and promises: a repeated request gets its first answer, an order is held whole or kept as failed,
-- the event joins the transaction. As in the service shelves are looked at without locks, in order of sku, and the update
-- takes only what is still there; who was beaten is told to try again, by an error that pgbench knows as such.
--
-- p_lines is {sku, ...} in ascending order, one unit each.
CREATE FUNCTION one_order(p_user bigint, p_request_id text, p_skus bigint[]) RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_positions CONSTANT integer := cardinality(p_skus);
    v_at CONSTANT timestamptz := clock_timestamp();
    v_pay_by CONSTANT timestamptz := v_at + interval '600 s';
    v_id bigint;
    v_key text;
    v_warehouse bigint;
    v_status text := 'awaiting_payment';
    v_held integer;
BEGIN
    v_id := nextval('orders_id_seq');
    v_key := v_id::text;

    INSERT INTO requests (caller, method, request_id, body_hash, answer)
    VALUES ('bench', 'abacus.loms.v1.LomsService/CreateOrder', p_request_id,
            sha256(convert_to(p_user || ' ' || p_skus::text, 'UTF8')),
            '\x08'::bytea || int8send(v_id) || '\x1002220c08'::bytea || timestamptz_send(v_pay_by))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN (SELECT ('x' || encode(substring(answer FROM 2 FOR 8), 'hex'))::bit(64)::bigint
                  FROM requests
                 WHERE caller = 'bench'
                   AND method = 'abacus.loms.v1.LomsService/CreateOrder'
                   AND request_id = p_request_id);
    END IF;

    -- One parcel: the warehouse that has all, the fullest first.
    SELECT warehouse_id
      INTO v_warehouse
      FROM stock
     WHERE sku = ANY (p_skus)
       AND on_hand > reserved
     GROUP BY warehouse_id
    HAVING count(*) = v_positions
     ORDER BY sum(on_hand - reserved) DESC, warehouse_id
     LIMIT 1;

    IF v_warehouse IS NULL THEN
        -- Several parcels, of each sku the fullest shelf; or nothing at all.
        WITH chosen AS (
            SELECT DISTINCT ON (sku) sku, warehouse_id
              FROM stock
             WHERE sku = ANY (p_skus)
               AND on_hand > reserved
             ORDER BY sku, on_hand - reserved DESC, warehouse_id
        ), raised AS (
            UPDATE stock
               SET reserved = reserved + 1
              FROM chosen
             WHERE (SELECT count(*) FROM chosen) = v_positions
               AND stock.sku = chosen.sku
               AND stock.warehouse_id = chosen.warehouse_id
               AND stock.on_hand > stock.reserved
            RETURNING stock.sku, stock.warehouse_id
        ), held AS (
            INSERT INTO holds (order_id, sku, warehouse_id, count)
            SELECT v_id, sku, warehouse_id, 1
              FROM raised
        )
        SELECT count(*)
          INTO v_held
          FROM raised;
        IF v_held = 0 THEN
            v_status := 'failed';
        ELSIF v_held <> v_positions THEN
            RAISE serialization_failure;
        END IF;
    ELSE
        INSERT INTO holds (order_id, sku, warehouse_id, count)
        SELECT v_id, sku, v_warehouse, 1
          FROM unnest(p_skus) AS wanted (sku);
    END IF;

    INSERT INTO orders (id, user_id, status, reason, total_price, currency, lines, shortages,
                        created_at, updated_at, pay_by)
    VALUES (v_id, p_user, v_status, CASE v_status WHEN 'failed' THEN 'out of stock' ELSE '' END, 0, 'RUB',
            ('[[' || array_to_string(p_skus, ',1,"",0],[') || ',1,"",0]]')::jsonb,
            CASE v_status WHEN 'failed' THEN to_jsonb(p_skus) END,
            v_at, v_at, CASE v_status WHEN 'failed' THEN NULL ELSE v_pay_by END);
    INSERT INTO order_history (order_id, version, previous_status, status, reason, actor, at)
    VALUES (v_id, 1, NULL, v_status, CASE v_status WHEN 'failed' THEN 'out of stock' ELSE '' END, 'bench', v_at);
    INSERT INTO outbox (topic, key, type, payload)
    VALUES ('abacus.loms.order-status.v1', v_key, 'abacus.loms.v1.OrderStatusChanged',
            '{"orderId":' || v_key || ',"version":1,"user":' || p_user
            || ',"previousStatus":"ORDER_STATUS_UNSPECIFIED","status":"ORDER_STATUS_' || upper(v_status)
            || '","reason":"","actor":"bench","at":"' || v_at || '","payBy":"' || v_pay_by || '","items":[{"sku":'
            || array_to_string(p_skus, ',"count":1,"name":"","price":0},{"sku":')
            || ',"count":1,"name":"","price":0}],"totalPrice":0,"currency":"RUB"}');
    -- Last, so that shelves are locked only from here to the commit.
    IF v_warehouse IS NOT NULL THEN
        UPDATE stock
           SET reserved = reserved + 1
          FROM unnest(p_skus) AS wanted (sku)
         WHERE stock.sku = wanted.sku
           AND stock.warehouse_id = v_warehouse
           AND stock.on_hand > stock.reserved;
        GET DIAGNOSTICS v_held = ROW_COUNT;
        IF v_held <> v_positions THEN
            RAISE serialization_failure;
        END IF;
    END IF;
    RETURN v_id;
END
$$;
