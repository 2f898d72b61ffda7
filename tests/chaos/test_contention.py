"""Many callers, few goods, two processes of loms."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from abacus.loms.v1 import loms_pb2
from deploy.native import stack
from kit.testing import until
from tests.audit import audit
from tests.callers import Callers, calling, order, receipt, told
from tests.sizes import SIZES
from tests.stacks import database, running

CALL_S_MAX = 5.0
BUYERS = 64
LAST_UNITS = {1: 4, 2: 3, 3: 3}  # by warehouse
SKUS = range(101, 106)  # of the random operations
SHORT_PAY_WITHIN_S = 0.5  # of the second process: orders expire while all else goes on


@pytest.fixture(scope="module")
async def counter() -> AsyncIterator[stack.Shop]:
    """PostgreSQL and two processes of loms; no Kafka: events wait, orders go on."""
    async with running("loms-migrate") as shop:
        await shop.start_replica("loms", name="loms-a")
        await shop.start_replica("loms", name="loms-b", env={"LOMS_PAYMENT_TIMEOUT_S": str(SHORT_PAY_WITHIN_S)})
        yield shop


@asynccontextmanager
async def no_deadlock(shop: stack.Shop, conn: asyncpg.Connection) -> AsyncIterator[None]:
    """Expect that PostgreSQL saw no deadlock (SQLSTATE 40P01) within the block."""
    yield
    log = "".join(path.read_text() for path in sorted((shop.home / "logs").glob("postgres.log*")))
    assert "deadlock detected" not in log
    assert 0 == await conn.fetchval("SELECT sum(deadlocks) FROM pg_stat_database")


async def test_the_last_units_are_sold_once(counter, figure):
    """64 buyers at once for 10 units in 3 warehouses: exactly 10 orders stand, whoever serves them."""
    addresses = [counter.address("loms-a"), counter.address("loms-b")]
    async with calling("loms", *addresses) as loms, database(counter, "loms") as conn, no_deadlock(counter, conn):
        for sku in range(1, SIZES.last_units_rounds + 1):
            for warehouse_id, count in LAST_UNITS.items():
                await loms.call("ReceiveStock", receipt(sku, count, warehouse_id=warehouse_id))

            async def buy(user: int, sku: int = sku) -> str:
                made = await loms.call("CreateOrder", order(user, (sku, 1)))
                if made.status == loms_pb2.ORDER_STATUS_FAILED:
                    return "short"
                await loms.call("OrderPayed", loms_pb2.OrderPayedRequest(order_id=made.order_id))
                return "bought"

            outcomes = Counter(await asyncio.gather(*(buy(user) for user in range(1, BUYERS + 1))))
            assert {"bought": 10, "short": BUYERS - 10} == outcomes
            left = await conn.fetchrow("SELECT sum(on_hand), sum(reserved) FROM stock WHERE sku = $1", sku)
            assert (0, 0) == tuple(left or ())
            sold = await conn.fetchval("SELECT -sum(delta) FROM movements WHERE sku = $1 AND kind = 'sold'", sku)
            assert 10 == sold
        await audit(conn)
        assert CALL_S_MAX >= loms.slowest_s
        figure(
            f"{SIZES.last_units_rounds} x {BUYERS} buyers for the last 10 units: 10 sold each time, "
            f"slowest call {loms.slowest_s:.2f} s, 0 deadlocks"
        )


async def test_stock_adds_up_after_random_operations(counter, figure):
    """Create, pay, cancel, expire, receive and adjust in any order through both: every figure adds up afterwards."""
    addresses = [counter.address("loms-a"), counter.address("loms-b")]
    async with calling("loms", *addresses) as loms, database(counter, "loms") as conn, no_deadlock(counter, conn):
        for sku, warehouse_id in itertools.product(SKUS, (1, 2, 3)):
            await loms.call("ReceiveStock", receipt(sku, 20, warehouse_id=warehouse_id))
        anything = _Anything(loms)
        numbers = iter(range(SIZES.operations))

        async def caller() -> None:
            for number in numbers:
                await anything.do(number)

        await asyncio.gather(*(caller() for _ in range(32)))

        expiring = "SELECT count(*) FROM orders WHERE status = 'awaiting_payment' AND pay_by < now() + interval '5 s'"
        await until(lambda: conn.fetchval(expiring), 0)
        await audit(conn)
        paid = set(anything.paid)
        assert paid == {
            row["order_id"]
            for row in await conn.fetch(
                "SELECT order_id FROM order_history WHERE status = 'paid' AND order_id = ANY($1)", anything.orders
            )
        }
        expired = await conn.fetchval("SELECT count(DISTINCT order_id) FROM holds WHERE state = 'expired'")
        assert expired > 0
        assert CALL_S_MAX >= loms.slowest_s
        figure(
            f"{SIZES.operations} operations, {expired} orders expired, slowest call {loms.slowest_s:.2f} s, "
            f"0 deadlocks; {dict(sorted(anything.outcomes.items()))}"
        )


class _Anything:
    """Random operations on whatever orders there are; refusals that name a rule are part of it."""

    def __init__(self, loms: Callers):
        self.loms = loms
        self.orders: list[int] = []
        self.paid: list[int] = []
        self.outcomes = Counter[str]()
        self.chance = random.Random(20261121)

    async def do(self, number: int) -> None:
        (kind,) = self.chance.choices(["create", "pay", "cancel", "receive", "adjust"], [40, 20, 15, 10, 15])
        outcome = await getattr(self, kind)(number)
        self.outcomes[f"{kind} {outcome}"] += 1

    async def create(self, number: int) -> str:
        # In any order of skus: the locks are sorted, not the callers.
        skus = self.chance.sample(SKUS, self.chance.randint(1, len(SKUS)))
        items = [(sku, self.chance.randint(1, 5)) for sku in skus]
        made = await self.loms.call("CreateOrder", order(number + 1, *items))
        self.orders.append(made.order_id)
        return loms_pb2.OrderStatus.Name(made.status).removeprefix("ORDER_STATUS_")

    async def pay(self, number: int) -> str:
        if not self.orders:
            return await self.create(number)
        order_id = self.chance.choice(self.orders[-100:])
        outcome, _ = await told(self.loms.call("OrderPayed", loms_pb2.OrderPayedRequest(order_id=order_id)))
        assert outcome in {"OK", "ORDER_NOT_PAYABLE", "PAYMENT_TOO_LATE"}
        if outcome == "OK":
            self.paid.append(order_id)
        return outcome

    async def cancel(self, number: int) -> str:
        if not self.orders:
            return await self.create(number)
        order_id = self.chance.choice(self.orders[-100:])
        outcome, _ = await told(self.loms.call("CancelOrder", loms_pb2.CancelOrderRequest(order_id=order_id)))
        assert outcome in {"OK", "ORDER_NOT_CANCELLABLE"}
        return outcome

    async def receive(self, number: int) -> str:
        sku, warehouse_id = self.chance.choice(SKUS), self.chance.choice((1, 2, 3))
        request = receipt(sku, self.chance.randint(1, 10), warehouse_id=warehouse_id, request_id=f"receive {number}")
        await self.loms.call("ReceiveStock", request)
        return "OK"

    async def adjust(self, number: int) -> str:
        delta = self.chance.choice([-5, -3, -1, 1, 3])
        outcome, _ = await told(
            self.loms.call(
                "AdjustStock",
                loms_pb2.AdjustStockRequest(
                    warehouse_id=self.chance.choice((1, 2, 3)),
                    sku=self.chance.choice(SKUS),
                    delta=delta,
                    reason="counted",
                    request_id=f"adjust {number}",
                ),
            )
        )
        assert outcome in {"OK", "STOCK_BELOW_RESERVED"}
        return outcome
