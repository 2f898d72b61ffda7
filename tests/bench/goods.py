"""What a benchmark finds in the database: goods on shelves, and orders of before. Filled by SQL, true to the audit."""

import asyncpg

SKUS, WAREHOUSES, UNITS = 10_000, 3, 10_000_000
FLASH_UNITS = 10_000
LINES = 3

_GOODS = """
    INSERT INTO stock (sku, warehouse_id, on_hand)
    SELECT sku, warehouse_id, $2
      FROM generate_series(1, $1::int) AS sku,
           generate_series(1, $3::int) AS warehouse_id
"""
_RECEIVED = """
    INSERT INTO movements (sku, warehouse_id, delta, kind, actor)
    SELECT sku, warehouse_id, on_hand, 'received', 'bench'
      FROM stock
"""
# Each statement makes one table of the orders 1..$1; line n of order i is sku 1 + (i * 3 + n) % 10,000 in a warehouse
# by turns. Those in the past were created and cancelled, those in the present wait for a payment that is late.
_CREATED = "timestamptz '2026-01-01' + i * interval '1 s'"
_LINES = f"""
    (SELECT jsonb_agg(jsonb_build_array(sku, 1, '', 0) ORDER BY sku)
       FROM (SELECT 1 + (i * {LINES} + line) % {SKUS} AS sku
               FROM generate_series(1, {LINES}) AS line) AS line)
"""
_PAST = (
    """
    INSERT INTO requests (caller, method, request_id, body_hash, answer)
    SELECT 'bench', 'abacus.loms.v1.LomsService/CreateOrder', 'filled ' || i, sha256(int8send(i)),
           int8send(i) || sha256('an answer')
      FROM generate_series(1, $1::bigint) AS i
    """,
    f"""
    INSERT INTO orders (id, user_id, status, version, reason, total_price, currency, lines,
                        created_at, updated_at, pay_by)
    SELECT i, 1 + i % 100000, 'cancelled', 2, 'changed my mind', 0, 'RUB', {_LINES},
           {_CREATED}, {_CREATED} + interval '5 s', {_CREATED} + interval '600 s'
      FROM generate_series(1, $1::bigint) AS i
    """,
    f"""
    INSERT INTO order_history (order_id, version, previous_status, status, reason, actor, at)
    SELECT i, version,
           CASE version WHEN 2 THEN 'awaiting_payment' END,
           CASE version WHEN 1 THEN 'awaiting_payment' ELSE 'cancelled' END,
           CASE version WHEN 1 THEN '' ELSE 'changed my mind' END,
           'bench', {_CREATED} + (version - 1) * interval '5 s'
      FROM generate_series(1, $1::bigint) AS i, generate_series(1, 2) AS version
    """,
)  # fmt: skip
_LATE = (
    f"""
    INSERT INTO orders (id, user_id, status, total_price, currency, lines, created_at, updated_at, pay_by)
    SELECT i, 1 + i % 100000, 'awaiting_payment', 0, 'RUB', {_LINES},
           {_CREATED}, {_CREATED}, {_CREATED} + interval '600 s'
      FROM generate_series(1, $1::bigint) AS i
    """,
    f"""
    INSERT INTO order_history (order_id, version, status, actor, at)
    SELECT i, 1, 'awaiting_payment', 'bench', {_CREATED}
      FROM generate_series(1, $1::bigint) AS i
    """,
    """
    UPDATE stock
       SET reserved = held.units
      FROM (SELECT sku, warehouse_id, sum(count) AS units
              FROM holds
             GROUP BY sku, warehouse_id) AS held
     WHERE stock.sku = held.sku
       AND stock.warehouse_id = held.warehouse_id
       AND 0 < $1::bigint
    """,
)  # fmt: skip
_HOLDS = f"""
    INSERT INTO holds (order_id, sku, warehouse_id, count, state)
    SELECT i, 1 + (i * {LINES} + line) % {SKUS}, 1 + i % {WAREHOUSES}, 1, $2
      FROM generate_series(1, $1::bigint) AS i, generate_series(1, {LINES}) AS line
"""


async def fill(conn: asyncpg.Connection) -> None:
    """Ten thousand skus in three warehouses, more units of each than any run sells."""
    await conn.execute(_GOODS, SKUS, UNITS, WAREHOUSES)
    await conn.execute(_RECEIVED)
    await conn.execute("VACUUM (ANALYZE)")


async def one_shelf(conn: asyncpg.Connection) -> None:
    """Leave sku 1 in one warehouse alone: all who want it want the same row."""
    for table in ("movements", "stock"):
        await conn.execute(f"DELETE FROM {table} WHERE sku = 1 AND warehouse_id > 1")


async def flash_sale(conn: asyncpg.Connection) -> None:
    """Leave FLASH_UNITS of sku 1, spread over its warehouses."""
    share = f"{FLASH_UNITS // WAREHOUSES} + CASE warehouse_id WHEN 1 THEN {FLASH_UNITS % WAREHOUSES} ELSE 0 END"
    await conn.execute(f"UPDATE stock SET on_hand = {share} WHERE sku = 1")
    await conn.execute(f"UPDATE movements SET delta = {share} WHERE sku = 1")


async def past_orders(conn: asyncpg.Connection, count: int) -> None:
    """So many orders of before, all cancelled; two changes each."""
    await _fill_orders(conn, count, _PAST, "voided")


async def late_orders(conn: asyncpg.Connection, count: int) -> None:
    """So many orders that were not paid in time; one change each."""
    await _fill_orders(conn, count, _LATE, "held")


async def _fill_orders(conn: asyncpg.Connection, count: int, statements: tuple[str, ...], state: str) -> None:
    await conn.execute("SET session_replication_role = replica")  # foreign keys, where there are any
    await conn.execute(_HOLDS, count, state, timeout=None)
    for statement in statements:
        await conn.execute(statement, count, timeout=None)
    await conn.execute("SELECT setval('orders_id_seq', $1)", count)
    await conn.execute("VACUUM (ANALYZE)", timeout=None)
