"""Lines of orders: kept with their order as they were sold, and the table refuses what is no line."""

import json
from pathlib import Path

import asyncpg
import pytest

from abacus.loms.v1 import loms_pb2

MIGRATIONS = Path(__file__).parents[1] / "migrations"


@pytest.mark.parametrize("name", ["", "Чайник «Заря»", '"quoted", \\back\\slash', ']],[[1,1,"",0]', "ё" * 500, "🫖"])
async def test_lines_are_told_as_they_were_sold(loms, name):
    """Whatever characters a name has and however high a price is: in ListOrder, ListOrders and the event."""
    await loms.receive(1, 5)
    await loms.receive(2, 65535)
    items = [
        loms_pb2.OrderItem(sku=1, count=1, name=name, price=10**12),
        loms_pb2.OrderItem(sku=2, count=65535, name=name, price=1),
    ]
    created = await loms.stub.CreateOrder(loms_pb2.CreateOrderRequest(user=7, items=items[::-1]))
    shown = await loms.show(created.order_id)
    assert items == list(shown.items)
    listed = await loms.stub.ListOrders(loms_pb2.ListOrdersRequest(user=7))
    assert [shown] == list(listed.orders)
    ((_, payload),) = await loms.events()
    told = [(line["sku"], line["count"], line["name"], line["price"]) for line in json.loads(payload)["items"]]
    assert [(1, 1, name, 10**12), (2, 65535, name, 1)] == told


async def test_lines_outlive_what_happens_to_their_order(loms):
    """A payment and a cancellation leave them as they are."""
    await loms.receive(1, 5)
    paid, cancelled = await loms.create((1, 2)), await loms.create((1, 3))
    before = [(await loms.show(order.order_id)).items for order in (paid, cancelled)]
    await loms.pay(paid.order_id)
    await loms.cancel(cancelled.order_id)
    assert before == [(await loms.show(order.order_id)).items for order in (paid, cancelled)]


@pytest.mark.parametrize(
    "lines",
    [
        "[]",
        "{}",
        "null",
        "[1]",
        "[[1]]",
        "[[]]",
        '[[0, 1, "", 0]]',
        '[["1", 1, "", 0]]',
        '[[1, 0, "", 0]]',
        '[[1, 65536, "", 0]]',
        '[[1, null, "", 0]]',
        '[[1, "1", "", 0]]',
        '[[1, 1, "", -1]]',
        '[[1, 1, "", "0"]]',
        '[[1, 1, ""]]',
        '[[1, 1, "", 0, 9]]',
        "[[1, 1, null, 0]]",
        "[[1, 1, 5, 0]]",
        '[[1, 1, "", 0], [2, 0, "", 0]]',
    ],
)
async def test_the_table_refuses_what_is_no_line(loms, lines):
    """An order has a line at least; each has a sku, 1 to 65535 units, a name and a price that is not below zero."""
    await loms.create((1, 1))
    with pytest.raises(asyncpg.DataError if lines in ("{}", "null") else asyncpg.CheckViolationError):
        await loms.db.pool.execute("UPDATE orders SET lines = $1", lines)
    await loms.db.pool.execute("UPDATE orders SET lines = $1", '[[1, 65535, "", 0], [2, 1, "", 9223372036854775807]]')


async def test_lines_of_before_are_kept(db):
    """Orders of the release before, whose lines were rows of a table, have them as a value."""
    async with db.pool.acquire() as conn, conn.transaction():
        await conn.execute("CREATE SCHEMA before; SET LOCAL search_path = before")
        older, newer = [], []
        for path in sorted(MIGRATIONS.iterdir()):
            (newer if path.name >= "20261121000300" else older).append(path.read_text())
        await conn.execute("".join(older))
        await conn.execute(
            """
            INSERT INTO orders (id, user_id, status, total_price, currency, created_at, updated_at)
            VALUES (1, 7, 'failed', 307, 'RUB', now(), now()), (2, 7, 'failed', 0, 'RUB', now(), now());
            INSERT INTO order_items (order_id, sku, count, name, price)
            VALUES (1, 9, 1, 'Чай "Заря"', 7), (1, 1, 3, '', 100), (2, 5, 65535, '', 0)
            """
        )
        await conn.execute("".join(newer))
        rows = await conn.fetch("SELECT id, lines FROM orders ORDER BY id")
        assert {1: [[1, 3, "", 100], [9, 1, 'Чай "Заря"', 7]], 2: [[5, 65535, "", 0]]} == {
            order_id: json.loads(lines) for order_id, lines in rows
        }
        assert await conn.fetchval("SELECT to_regclass('order_items') IS NULL")
