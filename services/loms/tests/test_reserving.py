"""Orders that are placed first and reserved later, through the door."""

import asyncio
import json
import random
from datetime import UTC

import asyncpg
import grpc
import pytest

from abacus.loms.v1 import loms_pb2
from kit.testing import refused, until
from loms import changes, reserving, rpc
from loms.batches import Batching
from loms.judging import Asked
from loms.tests.conftest import ADDRESS, placing
from loms.tests.looks import DEADLOCKS, audit_of, waiting

NEW = loms_pb2.ORDER_STATUS_NEW
AWAITING = loms_pb2.ORDER_STATUS_AWAITING_PAYMENT
FAILED = loms_pb2.ORDER_STATUS_FAILED
PAID = loms_pb2.ORDER_STATUS_PAID
CANCELLED = loms_pb2.ORDER_STATUS_CANCELLED
ASSEMBLING = loms_pb2.ORDER_STATUS_ASSEMBLING


async def test_a_placed_order_lives_from_its_address_to_the_warehouse(loms):
    """Placed, reserved, paid, confirmed: each step is one version, one row of history, one event."""
    await loms.receive(1, 5)
    await loms.receive(2, 5, warehouse_id=2)
    placed = await loms.place((2, 1, "Чай", 7), (1, 2, "Чайник", 100), (2, 1, "Чай", 7), card="tok_1", currency="EUR")
    assert NEW == placed.status
    assert {1: 5} == await loms.free(1)
    order = await loms.get(placed.order_id)
    assert (7, 214, "EUR", 1, "tok_1", "") == (
        order.user,
        order.total_amount,
        order.currency,
        order.version,
        order.card,
        order.phone,
    )
    assert ADDRESS == {name: getattr(order, name) for name in ADDRESS}
    assert [(1, "Чайник", 2, 100, 200), (2, "Чай", 2, 7, 14)] == [
        (item.product_id, item.name, item.quantity, item.price, item.amount) for item in order.items
    ]
    assert placed.created_at == order.created_at == order.updated_at
    assert not order.HasField("pay_by")

    reserved = await loms.reserve(placed.order_id)
    assert (placed.order_id, AWAITING, []) == (reserved.order_id, reserved.status, list(reserved.shortages))
    assert ({1: 3}, {2: 3}) == (await loms.free(1), await loms.free(2))
    order = await loms.get(placed.order_id)
    assert reserved.pay_by == order.pay_by
    assert 600 * 10**9 == reserved.pay_by.ToNanoseconds() - order.updated_at.ToNanoseconds()
    await loms.pay(placed.order_id)
    await loms.confirm(placed.order_id)

    order = await loms.get(placed.order_id)
    steps = [(1, 0, NEW), (2, NEW, AWAITING), (3, AWAITING, PAID), (4, PAID, ASSEMBLING)]
    assert steps == [(one.version, one.previous_status, one.status) for one in order.history]
    assert {"local"} == {one.actor for one in order.history}
    assert (ASSEMBLING, 4) == (order.status, order.version)
    events = [json.loads(payload) for _, payload in await loms.events()]
    assert [(version, loms_pb2.OrderStatus.Name(status)) for version, _, status in steps] == [
        (event["version"], event["status"]) for event in events
    ]
    assert [3, 0, 3, 0] == [
        units for row in await loms.db.pool.fetch("SELECT on_hand, reserved FROM stock") for units in row
    ]
    await audit_of(loms)


async def test_what_createorder_made_is_shown_without_an_address(loms):
    """GetOrder shows every order; one that does not exist is not found."""
    await loms.receive(1, 5)
    created = await loms.create((1, 2))
    order = await loms.get(created.order_id)
    assert (created.order_id, AWAITING, created.pay_by, 1) == (order.id, order.status, order.pay_by, len(order.history))
    assert dict.fromkeys(ADDRESS, "") == {name: getattr(order, name) for name in ADDRESS}
    failed = await loms.get((await loms.create((1, 9))).order_id)
    assert [(1, 9, 3)] == [(short.sku, short.wanted, short.available) for short in failed.shortages]
    with refused(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"):
        await loms.get(2**63 - 1)


async def test_a_short_order_fails_and_says_so_again(loms):
    """Nothing is held; the answer is OK with what was short, also to a repeat without an id, whatever came since."""
    await loms.receive(1, 5)
    placed = await loms.place((1, 2), (2, 1))
    reserved = await loms.reserve(placed.order_id)
    assert (FAILED, [(2, 1, 0)]) == (reserved.status, shorts(reserved))
    assert not reserved.HasField("pay_by")
    assert {1: 5} == await loms.free(1)
    await loms.receive(2, 5)
    assert reserved == await loms.reserve(placed.order_id)
    order = await loms.get(placed.order_id)
    assert ("out of stock", 2, FAILED) == (order.reason, order.version, order.status)
    assert reserved.shortages == order.shortages
    await audit_of(loms)


@pytest.mark.parametrize("request_id", ["once", ""])
async def test_a_repeat_of_a_reserve_holds_nothing_more(loms, request_id):
    """Five times at once, with an id or without: one change, the same answer."""
    await loms.receive(1, 5)
    placed = await loms.place((1, 2))
    answers = await asyncio.gather(*(loms.reserve(placed.order_id, request_id=request_id) for _ in range(5)))
    assert [answers[0]] * 5 == answers
    assert {1: 3} == await loms.free(1)
    assert 2 == len(await loms.history(placed.order_id))
    await audit_of(loms)


async def test_the_first_answer_is_given_again_whatever_came_of_the_order(loms):
    """With its id, after a payment and after a cancellation; without one, the order's present status, or a refusal."""
    await loms.receive(1, 5)
    paid, cancelled = (await loms.place((1, 1))).order_id, (await loms.place((1, 1))).order_id
    first = [await loms.reserve(order_id, request_id=f"reserve {order_id}") for order_id in (paid, cancelled)]
    await loms.pay(paid)
    await loms.cancel(cancelled)
    assert first == [await loms.reserve(order_id, request_id=f"reserve {order_id}") for order_id in (paid, cancelled)]
    assert PAID == (await loms.reserve(paid)).status
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_RESERVABLE") as error:
        await loms.reserve(cancelled)
    assert "cancelled" == error.metadata["status"]
    with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await loms.reserve(cancelled, request_id=f"reserve {paid}")


async def test_placing_is_repeatable(loms):
    """Five times at once under an id: one order; another body under it is refused."""
    answers = await asyncio.gather(*(loms.place((1, 1), request_id="once") for _ in range(5)))
    assert [answers[0]] * 5 == answers
    with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await loms.place((1, 1), request_id="once", city="Ржев")
    assert 1 == await loms.db.pool.fetchval("SELECT count(*) FROM orders")
    assert 1 == len(await loms.events())


async def test_the_last_units_are_held_once(loms):
    """64 at once over two processes want the last ten: ten hold one each, the others are short; no deadlock."""
    await loms.receive(1, 10)
    made = await asyncio.gather(*(loms.place((1, 1), user=user) for user in range(1, 65)))
    sides = [side(loms) for _ in range(2)]
    answers = await asyncio.gather(
        *(sides[number % 2].reserving.ask(wanting(one.order_id)) for number, one in enumerate(made))
    )
    assert 10 == sum(answer.status == AWAITING for answer in answers)
    assert 54 == sum(answer.status == FAILED for answer in answers)
    assert {1: 0} == await loms.free(1)
    await audit_of(loms)


async def test_in_order_of_arrival(loms):
    """In a batch who came first gets the units, those behind what is left at their turn."""
    await loms.receive(1, 5)
    made = [(await loms.place((1, count))).order_id for count in (3, 3, 2, 1)]
    answers = await reserving.reserve_many(
        loms.db, [wanting(order_id) for order_id in [made[1], *made]], pay_within_s=600
    )
    assert [AWAITING, FAILED, AWAITING, AWAITING, FAILED] == [answer.status for answer in answers]
    assert [[(1, 3, 2)], [(1, 1, 0)]] == [shorts(answers[1]), shorts(answers[4])]
    await audit_of(loms)


async def test_reserves_race_whatever_else_happens_to_orders(loms):
    """Reserved, cancelled, expired, paid, created at once by two processes: all adds up, nobody waits in a circle."""
    for sku in range(1, 5):
        await loms.receive(sku, 40, warehouse_id=1 + sku % 2)
    lines = [[(sku, 1 + number % 3) for sku in random.Random(number).sample(range(1, 5), 3)] for number in range(60)]
    made = [(await loms.place(*some)).order_id for some in lines]
    old = made[::4]
    left_alone = old[::3]  # nobody asks for them: time alone ends them, while the others are fought for
    await loms.db.pool.execute("UPDATE orders SET created_at = created_at - interval '1 h' WHERE id = ANY($1)", old)
    sides = [side(loms) for _ in range(2)]

    async def settle(number, order_id):
        one, other = sides[number % 2], sides[1 - number % 2]
        repeats = [one.reserving.ask(wanting(order_id)), other.reserving.ask(wanting(order_id, f"id {number}"))]
        also = [other.cancelling.ask(wanting(order_id))] if number % 3 == 0 else []
        outcomes = await asyncio.gather(*repeats, *also, return_exceptions=True)
        if number % 3 == 1:
            outcomes += await asyncio.gather(one.paying.ask(wanting(order_id)), return_exceptions=True)
        return {getattr(outcome, "reason", "OK") for outcome in outcomes}

    async def expire():
        return sum([await changes.expire_new_once(loms.db, new_ttl_s=1800, batch=1) for _ in range(30)])

    deadlocks = await loms.db.pool.fetchval(DEADLOCKS)
    creating = [loms.create((sku, 1), (1 + sku % 4, 1)) for sku in range(1, 5) for _ in range(5)]
    fought_for = [one for one in enumerate(made) if one[1] not in left_alone]
    outcomes = await asyncio.gather(*(settle(*one) for one in fought_for), expire(), expire(), *creating)
    known = {"OK", "ORDER_NOT_RESERVABLE", "ORDER_NOT_CANCELLABLE", "ORDER_NOT_PAYABLE"}
    assert known >= set.union(*outcomes[: len(fought_for)])
    ends = await loms.db.pool.fetch("SELECT id, status, reason FROM orders WHERE id = ANY($1)", made)
    assert {"awaiting_payment", "paid", "failed", "cancelled"} == {row["status"] for row in ends}
    expired = {row["id"] for row in ends if row["reason"] == "not reserved in time"}
    assert set(left_alone) <= expired <= set(old)
    await loms.db.pool.execute("SELECT pg_stat_force_next_flush()")
    assert deadlocks == await loms.db.pool.fetchval(DEADLOCKS)
    await audit_of(loms)


async def test_a_reserve_that_waited_for_a_cancellation_is_refused(loms):
    """Who gets the order's row after its end finds the end, and holds nothing."""
    await loms.receive(1, 5)
    placed = await loms.place((1, 1))
    async with loms.db.transaction() as conn:
        await conn.execute("SELECT FROM orders FOR UPDATE")
        cancelling = asyncio.ensure_future(loms.cancel(placed.order_id))
        await until(lambda: waiting(loms.db), 1)
        reserve = asyncio.ensure_future(loms.reserve(placed.order_id))
        await until(lambda: waiting(loms.db), 2)
    await cancelling
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_RESERVABLE"):
        await reserve
    assert {1: 5} == await loms.free(1)


async def test_a_new_order_cannot_be_paid_or_confirmed(loms):
    """FAILED_PRECONDITION with the status; it can be cancelled, with its reason, and that again."""
    placed = await loms.place((1, 1))
    for call, reason in ((loms.pay, "ORDER_NOT_PAYABLE"), (loms.confirm, "ORDER_NOT_CONFIRMABLE")):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, reason) as error:
            await call(placed.order_id)
        assert "new" == error.metadata["status"]
    for _ in range(2):
        await loms.cancel(placed.order_id, reason="too dear")
    order = await loms.get(placed.order_id)
    assert (CANCELLED, 2, "too dear") == (order.status, order.version, order.reason)
    await audit_of(loms)


async def test_confirming_again_changes_nothing(loms):
    """OK for one that is assembled; refused with the status for one that is not paid, failed or cancelled."""
    await loms.receive(1, 5)
    paid, awaiting, failed = [(await loms.create((1, count))).order_id for count in (1, 1, 9)]
    await loms.pay(paid)
    for _ in range(2):
        await loms.confirm(paid, request_id="once")
        await loms.confirm(paid)
    assert 3 == len(await loms.history(paid))
    await loms.pay(paid)  # done before
    for order_id, status in ((awaiting, "awaiting_payment"), (failed, "failed")):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_CONFIRMABLE") as error:
            await loms.confirm(order_id)
        assert status == error.metadata["status"]
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_CANCELLABLE"):
        await loms.cancel(paid)
    await audit_of(loms)


async def test_a_stale_version_is_refused(loms):
    """Reserve and confirm with a version that is not the order's; with the right one they go through."""
    await loms.receive(1, 5)
    placed = await loms.place((1, 1))
    with refused(grpc.StatusCode.ABORTED, "STALE_VERSION") as error:
        await loms.reserve(placed.order_id, version=2)
    assert "1" == error.metadata["version"]
    await loms.reserve(placed.order_id, version=1)
    await loms.reserve(placed.order_id, version=1)  # a repeat finds its work done
    await loms.pay(placed.order_id, version=2)
    with refused(grpc.StatusCode.ABORTED, "STALE_VERSION"):
        await loms.confirm(placed.order_id, version=2)
    await loms.confirm(placed.order_id, version=3)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (placing((1, 1), country=""), "country"),
        (placing((1, 1), street="a\nb"), "street"),
        (placing((1, 1), city="x" * 201), "city"),
        (placing((1, 1), card="4111111111111111"), "card"),
        (placing((1, 1), phone="89005551234"), "phone"),
        (placing((1, 1), card="tok_1", phone="+79005551234"), None),
        (placing(*((sku, 1) for sku in range(1, 22))), "items"),
        (placing((1, 65535), (1, 1)), "items"),
        (placing(), "items"),
    ],
)
async def test_a_bad_order_is_not_placed(loms, request_, field):
    """The field is named; nothing is written. A card's number is none of the tokens that we take."""
    with refused(grpc.StatusCode.INVALID_ARGUMENT, field=field):
        await loms.stub.PlaceOrder(request_)
    assert 0 == await loms.db.pool.fetchval("SELECT count(*) FROM orders")


@pytest.mark.parametrize(
    "change",
    [
        "country = ''",
        "region = repeat('x', 201)",
        "city = ''",
        "street = ''",
        "card = '4111111111111111'",
        "phone = '89005551234'",
        "phone = '+79005551234'",  # beside its card
        "order_id = 99",
    ],
)
async def test_the_table_refuses_what_is_no_address(loms, change):
    """Whoever writes it."""
    await loms.place((1, 1), card="tok_1")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await loms.db.pool.execute(f"UPDATE order_addresses SET {change}")


async def test_a_new_order_ends_when_nobody_reserves_it(loms):
    """Never before its time; then once, by loms itself, with its event. What was reserved is left alone."""
    await loms.receive(1, 5)
    placed, reserved = await loms.place((1, 1)), await loms.place((1, 1))
    await loms.reserve(reserved.order_id)
    assert 0 == await changes.expire_new_once(loms.db, new_ttl_s=60)
    await passed(loms, placed.created_at, 0.2)
    assert 1 == await changes.expire_new_once(loms.db, new_ttl_s=0.2)
    assert 0 == await changes.expire_new_once(loms.db, new_ttl_s=0.2)
    assert 0 == await changes.expire_once(loms.db)
    order = await loms.get(placed.order_id)
    last = order.history[-1]
    assert (CANCELLED, "not reserved in time", "loms", 2) == (last.status, last.reason, last.actor, order.version)
    assert last.at.ToNanoseconds() > placed.created_at.ToNanoseconds() + 0.2 * 10**9
    assert AWAITING == (await loms.show(reserved.order_id)).status
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_RESERVABLE"):
        await loms.reserve(placed.order_id)
    assert 4 == len(await loms.events())
    await audit_of(loms)


async def test_new_orders_end_by_many_workers(loms):
    """Three at once, in small batches: each order ends once."""
    made = [await loms.place((1, 1)) for _ in range(30)]
    await passed(loms, made[-1].created_at, 0.05)

    async def work():
        return sum([await changes.expire_new_once(loms.db, new_ttl_s=0.05, batch=4) for _ in range(8)])

    assert 30 == sum(await asyncio.gather(work(), work(), work()))
    assert {2} == {row["version"] for row in await loms.db.pool.fetch("SELECT version FROM orders")}
    await audit_of(loms)


class TestTimeout:
    """A reserved order that is not paid in time."""

    @pytest.fixture
    def pay_within_s(self):
        return 0.2

    async def test_it_has_its_time_from_when_it_was_reserved(self, loms):
        """And not from when it was placed; then it ends as any other, and its units are free."""
        await loms.receive(1, 5)
        placed = await loms.place((1, 2))
        await passed(loms, placed.created_at, 0.3)
        reserved = await loms.reserve(placed.order_id)
        updated_at = (await loms.show(placed.order_id)).updated_at
        assert 200_000_000 == reserved.pay_by.ToNanoseconds() - updated_at.ToNanoseconds()
        await passed(loms, reserved.pay_by, 0)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "PAYMENT_TOO_LATE"):
            await loms.pay(placed.order_id)
        assert 1 == await changes.expire_once(loms.db)
        assert {1: 5} == await loms.free(1)
        assert "not paid in time" == (await loms.get(placed.order_id)).reason
        await audit_of(loms)


def side(loms):
    """A process more on the same database."""
    return rpc.Loms(loms.db, pay_within_s=600, positions_max=20, batching=Batching(64, 1000))


def wanting(order_id, request_id=""):
    return Asked("test", order_id, None, "test", request_id, f"{order_id}".encode())


def shorts(answer):
    return [(short.sku, short.wanted, short.available) for short in answer.shortages]


async def passed(loms, since, seconds):
    await loms.db.pool.execute(
        "SELECT pg_sleep_until($1::timestamptz + make_interval(secs => $2) + interval '1 ms')",
        since.ToDatetime(tzinfo=UTC),
        seconds,
    )
