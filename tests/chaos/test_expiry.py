"""Orders that nobody pays, or reserves, in time, two workers that cancel them, and payments at that very moment."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from statistics import quantiles

import pytest

from abacus.loms.v1 import loms_pb2
from deploy.native import stack
from kit.testing import until
from tests.audit import audit, audit_messages, audit_topic
from tests.callers import calling, order, publish_contacts, receipt, told
from tests.sizes import SIZES
from tests.stacks import database, running

PAY_WITHIN_S = 2.0
NEW_TTL_S = 1.0
LATE_S_MAX = 1.0  # at the 99th percentile
# A payment is fired so long before pay_by or after it, at most; it takes a moment to arrive.
BEFORE_S, AFTER_S = 0.08, 0.02

_users = itertools.count(1)  # each has one order


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[stack.Shop]:
    """Two doors and two workers of loms whose orders wait 1 s and 2 s, notifications, and contacts for all users."""
    waits = {"LOMS_NEW_TTL_S": str(NEW_TTL_S), "LOMS_PAYMENT_TIMEOUT_S": str(PAY_WITHIN_S)}
    async with running("notifications", "loms-migrate", env=waits) as shop:
        await publish_contacts(shop.kafka, range(1, SIZES.unpaid + SIZES.races + 2))
        await asyncio.gather(
            shop.start_replica("loms", name="door-a", args=["api"]),
            shop.start_replica("loms", name="door-b", args=["api"]),
            shop.start_replica("loms", name="workers-a", args=["workers"]),
            shop.start_replica("loms", name="workers-b", args=["workers"]),
        )
        yield shop


async def test_unpaid_orders_are_cancelled_in_time_and_once(shop, figure):
    """None early, p99 within a second after pay_by; each once, with its stock back, one event and one message."""
    sku, units = 1, SIZES.unpaid
    async with (
        calling("loms", shop.address("door-a"), shop.address("door-b")) as loms,
        database(shop, "loms") as conn,
        database(shop, "notifications") as messages,
    ):
        await loms.call("ReceiveStock", receipt(sku, units))
        users = iter(list(itertools.islice(_users, SIZES.unpaid)))

        async def buy() -> None:
            for user in users:
                made = await loms.call("CreateOrder", order(user, (sku, 1)))
                assert loms_pb2.ORDER_STATUS_AWAITING_PAYMENT == made.status

        await asyncio.gather(*(buy() for _ in range(16)))
        cancelled = "SELECT count(*) FROM order_history WHERE status = 'cancelled'"
        await until(lambda: conn.fetchval(cancelled), SIZES.unpaid)

        late_s = [
            float(row["late_s"])
            for row in await conn.fetch(
                """
                SELECT extract(epoch FROM order_history.at - orders.pay_by) AS late_s
                  FROM order_history
                  JOIN orders ON orders.id = order_history.order_id
                 WHERE order_history.status = 'cancelled'
                """
            )
        ]
        assert SIZES.unpaid == len(late_s)
        assert 0 <= min(late_s)
        p99_s = quantiles(late_s, n=100)[98]
        assert LATE_S_MAX >= p99_s
        shelf = await conn.fetchrow("SELECT on_hand, reserved FROM stock WHERE sku = $1", sku)
        assert (units, 0) == tuple(shelf or ())

        sent = "SELECT count(*) FROM messages WHERE status = 'sent'"
        await until(lambda: messages.fetchval(sent), 2 * units, within_s=60)
        await audit(conn)
        wire = await audit_topic(conn, shop.kafka)
        assert (2 * units, 0) == (wire.changes, wire.repeats)
        post = await audit_messages(conn, messages, shop.address("mailbox"))
        assert (2 * units, 0) == (post.messages, post.repeats)
        figure(
            f"cancelled_at - pay_by: p99 {p99_s:.2f} s, least {min(late_s):.3f} s, most {max(late_s):.2f} s, "
            f"{units} orders, {wire.changes} events, {post.messages} messages, no repeats"
        )


async def test_a_late_payment_is_refused_though_no_worker_runs(shop):
    """After pay_by the clock refuses the payment; the stock comes back when the workers do."""
    sku = 2
    async with calling("loms", shop.address("door-a")) as loms, database(shop, "loms") as conn:
        await loms.call("ReceiveStock", receipt(sku, 1))
        for name in ("workers-a", "workers-b"):
            await shop[name].kill()
        made = await loms.call("CreateOrder", order(next(_users), (sku, 1)))
        await conn.execute("SELECT pg_sleep_until(pay_by) FROM orders WHERE id = $1", made.order_id)
        payment = loms_pb2.OrderPayedRequest(order_id=made.order_id)
        assert ("PAYMENT_TOO_LATE", None) == await told(loms.call("OrderPayed", payment))
        assert 1 == await conn.fetchval("SELECT reserved FROM stock WHERE sku = $1", sku)
        for name in ("workers-a", "workers-b"):
            await shop[name].start()
        await until(lambda: conn.fetchval("SELECT reserved FROM stock WHERE sku = $1", sku), 0)
        assert ("ORDER_NOT_PAYABLE", None) == await told(loms.call("OrderPayed", payment))


async def test_payment_and_expiry_together_have_one_winner(shop, figure):
    """A payment fired around pay_by is taken and its stock sold, or refused and the order cancelled; never both."""
    sku, chance = 3, random.Random(20261121)
    outcomes: dict[int, str] = {}
    async with (
        calling("loms", shop.address("door-a"), shop.address("door-b")) as loms,
        database(shop, "loms") as conn,
    ):
        await loms.call("ReceiveStock", receipt(sku, SIZES.races))
        users = iter(list(itertools.islice(_users, SIZES.races)))

        async def race() -> None:
            for user in users:
                made = await loms.call("CreateOrder", order(user, (sku, 1)))
                fire_at = made.pay_by.ToNanoseconds() / 1e9 + chance.uniform(-BEFORE_S, AFTER_S)
                await asyncio.sleep(fire_at - time.time())
                payment = loms_pb2.OrderPayedRequest(order_id=made.order_id)
                outcomes[made.order_id], _ = await told(loms.call("OrderPayed", payment))

        await asyncio.gather(*(race() for _ in range(min(64, SIZES.races // 2))))
        assert {"OK", "PAYMENT_TOO_LATE", "ORDER_NOT_PAYABLE"} >= set(outcomes.values())
        assert SIZES.races == len(outcomes)
        paid = {order_id for order_id, outcome in outcomes.items() if outcome == "OK"}
        assert 0 < len(paid) < SIZES.races

        waiting = "SELECT count(*) FROM orders WHERE status = 'awaiting_payment'"
        await until(lambda: conn.fetchval(waiting), 0)
        ends = {
            row["id"]: (row["status"], row["version"])
            for row in await conn.fetch("SELECT id, status, version FROM orders WHERE id = ANY($1)", list(outcomes))
        }
        assert ends == {order_id: ("paid" if order_id in paid else "cancelled", 2) for order_id in outcomes}
        sold = await conn.fetchval("SELECT -sum(delta) FROM movements WHERE sku = $1 AND kind = 'sold'", sku)
        assert len(paid) == sold
        shelf = await conn.fetchrow("SELECT on_hand, reserved FROM stock WHERE sku = $1", sku)
        assert (SIZES.races - len(paid), 0) == tuple(shelf or ())
        await audit(conn)
        figure(
            f"{SIZES.races} payments fired {BEFORE_S * 1000:g} ms before to {AFTER_S * 1000:g} ms after pay_by: "
            f"{dict(Counter(outcomes.values()))}"
        )


async def test_new_orders_are_cancelled_in_time_and_once(shop, figure):
    """Those that nobody reserves, and no others: none early, p99 within a second after their time."""
    sku = 4
    made: set[int] = set()
    reserved: set[int] = set()
    async with (
        calling("loms", shop.address("door-a"), shop.address("door-b")) as loms,
        database(shop, "loms") as conn,
    ):
        await loms.call("ReceiveStock", receipt(sku, SIZES.unpaid))
        users = enumerate(itertools.islice(_users, SIZES.unpaid))

        async def place() -> None:
            for number, user in users:
                request = loms_pb2.PlaceOrderRequest(
                    user=user,
                    items=[loms_pb2.OrderItem(sku=sku, count=1)],
                    country="RU",
                    region="Tver",
                    city="Tver",
                    street="1",
                )
                order_id = (await loms.call("PlaceOrder", request)).order_id
                made.add(order_id)
                if number % 2:
                    outcome, _ = await told(loms.call("ReserveOrder", loms_pb2.ReserveOrderRequest(order_id=order_id)))
                    reserved.update({order_id} if outcome == "OK" else ())

        await asyncio.gather(*(place() for _ in range(16)))
        assert reserved
        await until(lambda: conn.fetchval("SELECT count(*) FROM orders WHERE status = 'new'"), 0)
        late_s = {
            row["order_id"]: float(row["late_s"])
            for row in await conn.fetch(
                """
                SELECT order_id, extract(epoch FROM at - created_at) - $1 AS late_s
                  FROM order_history
                  JOIN orders ON orders.id = order_id
                 WHERE order_history.version = 2
                   AND order_history.reason = 'not reserved in time'
                   AND actor = 'loms'
                """,
                NEW_TTL_S,
            )
        }
        assert made - reserved == set(late_s)
        assert 0 <= min(late_s.values())
        p99_s = quantiles(late_s.values(), n=100)[98]
        assert LATE_S_MAX >= p99_s
        await audit(conn)
        figure(f"cancelled_at - created_at - {NEW_TTL_S:g} s: p99 {p99_s:.2f} s, {len(late_s)} orders")
