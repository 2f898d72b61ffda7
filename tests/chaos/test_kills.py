"""kill -9 at random moments under load: nothing that was answered, changed or due may be lost."""

import asyncio
import contextlib
import itertools
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import asyncpg
import pytest

from abacus.loms.v1 import loms_pb2
from deploy.native import stack
from kit.testing import until
from tests.audit import audit, audit_messages, audit_topic
from tests.callers import Callers, calling, order, publish_contacts, receipt, told
from tests.sizes import IS_FULL, SIZES
from tests.stacks import database, running

SKUS = range(1, 9)
SCARCE = 10  # units, in each warehouse
CUSTOMERS = 8  # at once
THINK_S = 0.4  # at most, between two calls of a customer
PAY_WITHIN_S = 3.0  # so that the last unpaid order ends soon after the last kill
ON_THEIR_WAY_MAX = 8  # messages between their sending and its mark: four lanes for each of two channels
# PostgreSQL is among those that are killed; asyncpg tells it in all these ways.
DATABASE_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
QUIET_WITHIN_S = 60.0  # a message whose sender was killed waits for the end of its lease, 15 s


@pytest.fixture
async def shop() -> AsyncIterator[stack.Shop]:
    """Two doors of loms, its workers (relay, expiry) apart, notifications, and contacts for all users."""
    async with running("notifications", "loms-migrate", env={"LOMS_PAYMENT_TIMEOUT_S": str(PAY_WITHIN_S)}) as shop:
        await publish_contacts(shop.kafka, range(1, SIZES.users + 1))
        await asyncio.gather(
            shop.start_replica("loms", name="loms-a", args=["api"]),
            shop.start_replica("loms", name="loms-b", args=["api"]),
            shop.start_replica("loms", name="relay", args=["workers"]),
        )
        yield shop


@dataclass
class Customers:
    """Buy, pay, cancel, forget; ask again with the same request id until they are answered; remember every answer."""

    loms: Callers
    users: Iterator[int]
    chance: random.Random
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    created: dict[int, loms_pb2.CreateOrderResponse] = field(default_factory=dict)  # by user
    answers: dict[int, tuple[str, str]] = field(default_factory=dict)  # by order: what was asked last, what was said

    async def buy(self) -> None:
        for user in self.users:
            if self.stop.is_set():
                return
            skus = self.chance.sample(SKUS, self.chance.randint(1, 3))
            made = await self.loms.until_answered(
                "CreateOrder", order(user, *((sku, 1) for sku in skus), request_id=f"order of {user}")
            )
            self.created[user] = made
            await asyncio.sleep(self.chance.uniform(0, THINK_S))
            method = self.chance.choice(["OrderPayed", "OrderPayed", "CancelOrder", None])
            if method:
                request = getattr(loms_pb2, f"{method}Request")(order_id=made.order_id, request_id=str(uuid.uuid4()))
                outcome, _ = await told(self.loms.until_answered(method, request))
                self.answers[made.order_id] = (method, outcome)
            await asyncio.sleep(self.chance.uniform(0, THINK_S))


async def kill_at_random(shop: stack.Shop, chance: random.Random) -> Counter[str]:
    """Kill every kind of process as often as SIZES says, each at random moments of its own, and start it again."""
    kills = dict.fromkeys(("loms-a", "loms-b", "relay", "notifications", "kafka"), SIZES.kills)
    kills["postgres"] = SIZES.postgres_kills
    # Those that work in bursts are killed in the middle of one: in a random moment they would mostly be idle.
    bursts = {
        "relay": ("loms", "SELECT count(*) FROM outbox"),
        "notifications": ("notifications", "SELECT count(*) FROM messages WHERE status = 'queued' AND attempts > 0"),
    }

    async def fall_and_rise(name: str) -> None:
        for _ in range(kills[name]):
            await asyncio.sleep(chance.uniform(0, 2 * SIZES.kills_s / kills[name]))
            if name in bursts:
                await _busy(shop, *bursts[name])
                await asyncio.sleep(chance.uniform(0, 0.03))
            await shop[name].kill()
            if name == "notifications" and not IS_FULL:
                await _end_leases(shop)
            await asyncio.sleep(chance.uniform(0, 0.5))
            await shop[name].start()

    async with asyncio.TaskGroup() as all_of_them:
        for name in kills:
            all_of_them.create_task(fall_and_rise(name))
    return Counter(kills)


async def _busy(shop: stack.Shop, service: str, query: str) -> None:
    """Return when a service's database says that there is work under way; after a while anyhow."""
    with contextlib.suppress(AssertionError, *DATABASE_AWAY):
        async with database(shop, service) as conn:
            await until(lambda: conn.fetchval(query), True, of=bool)


async def _end_leases(shop: stack.Shop) -> None:
    """Let the time pass for which a killed sender's messages wait; nobody else sends in this stack."""
    with contextlib.suppress(*DATABASE_AWAY):
        async with database(shop, "notifications") as conn:
            await conn.execute(
                "UPDATE messages SET next_attempt_at = clock_timestamp() WHERE status = 'queued' AND attempts > 0"
            )


async def test_nothing_is_lost_when_processes_are_killed(shop, figure):
    """Every answer has its effect, every change is in the topic in order, every customer has each message."""
    seed = random.randrange(10**6)
    print(f"random seed {seed}")
    chance = random.Random(seed)
    async with calling("loms", shop.address("loms-a"), shop.address("loms-b")) as loms:
        for sku, warehouse_id in itertools.product(SKUS, (1, 2, 3)):
            # There is too little of the first, so that orders fail.
            count = SCARCE if sku == SKUS[0] else SIZES.users
            await loms.call("ReceiveStock", receipt(sku, count, warehouse_id=warehouse_id))
        customers = Customers(loms, iter(range(1, SIZES.users + 1)), chance)
        async with asyncio.TaskGroup() as load:
            for _ in range(CUSTOMERS):
                load.create_task(customers.buy())
            kills = await kill_at_random(shop, chance)
            users_left = next(customers.users, None)
            customers.stop.set()
    assert users_left, "the load ended before the kills"

    async with database(shop, "loms") as conn, database(shop, "notifications") as messages:
        await _quiet(conn, messages)
        await audit(conn)
        await _answers_have_their_effect(conn, customers)
        wire = await audit_topic(conn, shop.kafka)
        post = await audit_messages(conn, messages, shop.address("mailbox"))
    assert ON_THEIR_WAY_MAX * (kills["notifications"] + kills["postgres"]) >= post.repeats
    figure(
        f"kills {dict(kills)}; {len(customers.created)} orders, {loms.tries} tries; {wire.changes} changes all in the "
        f"topic, {wire.repeats} repeated; {post.messages} messages all there, {post.tried_twice} tried twice, "
        f"{post.repeats} came twice; slowest try {loms.slowest_s:.2f} s"
    )


async def _quiet(conn: asyncpg.Connection, messages: asyncpg.Connection) -> None:
    """Wait until no order waits for its payment, no event for its relay, no message for its sending."""
    waiting = "SELECT count(*) FROM orders WHERE status = 'awaiting_payment'"
    await until(lambda: conn.fetchval(waiting), 0, within_s=QUIET_WITHIN_S)
    await until(lambda: conn.fetchval("SELECT count(*) FROM outbox"), 0, within_s=QUIET_WITHIN_S)
    changes = await conn.fetchval("SELECT count(*) FROM order_history")
    received = "SELECT count(*) FROM inbox WHERE topic = 'abacus.loms.order-status.v1'"
    await until(lambda: messages.fetchval(received), changes, within_s=QUIET_WITHIN_S)
    unsent = "SELECT count(*) FROM messages WHERE status <> 'sent'"
    await until(lambda: messages.fetchval(unsent), 0, within_s=QUIET_WITHIN_S)


async def _answers_have_their_effect(conn: asyncpg.Connection, customers: Customers) -> None:
    rows = await conn.fetch("SELECT id, user_id, status, shortages IS NOT NULL AS is_short FROM orders")
    # Each request made one order, however often it was sent; and nobody else made any.
    assert {user: made.order_id for user, made in customers.created.items()} == {
        row["user_id"]: row["id"] for row in rows
    }
    assert len(customers.created) == len(rows)
    short = {made.order_id for made in customers.created.values() if made.status == loms_pb2.ORDER_STATUS_FAILED}
    assert short == {row["id"] for row in rows if row["is_short"]}
    ends = {row["id"]: row["status"] for row in rows}
    wrong = {
        order_id: (answer, ends[order_id])
        for order_id, answer in customers.answers.items()
        if ends[order_id] not in _ENDS[answer]
    }
    assert {} == wrong
    # And none was paid that nobody asked to pay.
    assert {order_id for order_id, end in ends.items() if end == "paid"} == {
        order_id for order_id, answer in customers.answers.items() if answer == ("OrderPayed", "OK")
    }


# What was asked last and said -> how the order may have ended.
_ENDS = {
    ("OrderPayed", "OK"): {"paid"},
    ("OrderPayed", "PAYMENT_TOO_LATE"): {"cancelled"},
    ("OrderPayed", "ORDER_NOT_PAYABLE"): {"cancelled", "failed"},
    ("CancelOrder", "OK"): {"cancelled"},
    ("CancelOrder", "ORDER_NOT_CANCELLABLE"): {"failed"},
}
