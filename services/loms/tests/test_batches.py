"""Group commit: many callers, one transaction; what one of them asks for is never another's trouble."""

import asyncio
import itertools
import random

import asyncpg
import grpc
import pytest

from abacus.loms.v1 import loms_pb2
from kit.db import is_away
from kit.errors import Error
from kit.testing import refused, until
from loms import changes, placing, rpc
from loms.batches import Batcher, Batching
from loms.errors import ORDER_NOT_FOUND
from loms.history import Line
from loms.judging import Asked
from loms.tests.looks import DEADLOCKS, audit_of, waiting


class Counter:
    """What a batcher runs: answers each with its double, and remembers the batches."""

    def __init__(self):
        self.batches = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, batch):
        self.batches.append(list(batch))
        await self.gate.wait()
        if "poison" in batch:
            raise asyncpg.CheckViolationError("poison")
        if "lost" in batch:
            raise asyncpg.ConnectionDoesNotExistError("the server is gone")
        return [ORDER_NOT_FOUND("none") if one == "none" else one for one in batch]


async def queued(batcher, counter, *asked):
    """Ask for all of these while a first batch is in flight: they form the next one."""
    counter.gate.clear()
    first = asyncio.create_task(batcher.ask("first"))
    await until(lambda: asyncio.sleep(0, len(counter.batches)), 1)
    tasks = [asyncio.create_task(batcher.ask(one)) for one in asked]
    await asyncio.sleep(0)
    return first, tasks


async def test_who_comes_alone_is_served_alone_and_at_once():
    """No timer: a batch of one."""
    counter = Counter()
    batcher = Batcher(counter.run, Batching(batch_max=8, queue_max=8))
    assert [1, 2] == [await batcher.ask(1), await batcher.ask(2)]
    assert [[1], [2]] == counter.batches


async def test_who_comes_meanwhile_forms_the_next_batch():
    """In order of arrival, and no batch is bigger than it may be."""
    counter = Counter()
    batcher = Batcher(counter.run, Batching(batch_max=3, queue_max=8))
    first, tasks = await queued(batcher, counter, 1, 2, 3, 4)
    counter.gate.set()
    assert ["first", 1, 2, 3, 4] == await asyncio.gather(first, *tasks)
    assert [["first"], [1, 2, 3], [4]] == counter.batches


async def test_an_error_is_its_callers_alone():
    """One of a batch is answered with an error; a failure of the batch makes each run alone."""
    counter = Counter()
    batcher = Batcher(counter.run, Batching(batch_max=8, queue_max=8))
    first, tasks = await queued(batcher, counter, 1, "none", 2, "poison", 3)
    counter.gate.set()
    await first
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [1, 2, 3] == [one for one in answers if isinstance(one, int)]
    assert isinstance(answers[1], Error)
    assert isinstance(answers[3], asyncpg.CheckViolationError)
    assert [[1], ["none"], [2], ["poison"], [3]] == counter.batches[2:]


async def test_a_database_that_is_away_is_asked_once_more_and_not_for_each():
    """All of the batch are told so."""
    counter = Counter()
    batcher = Batcher(counter.run, Batching(batch_max=8, queue_max=8))
    first, tasks = await queued(batcher, counter, "lost", 1, 2)
    counter.gate.set()
    await first
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [True] * 3 == [is_away(one) for one in answers]
    assert [["first"], ["lost", 1, 2], ["lost"]] == counter.batches


async def test_who_gives_up_while_queued_is_dropped():
    """And who gives up in flight does not take the batch along."""
    counter = Counter()
    batcher = Batcher(counter.run, Batching(batch_max=8, queue_max=8))
    first, tasks = await queued(batcher, counter, 1, 2, 3)
    first.cancel()
    tasks[1].cancel()
    await asyncio.sleep(0)
    counter.gate.set()
    assert [1, 3] == [await tasks[0], await tasks[2]]
    assert [["first"], [1, 3]] == counter.batches


async def test_a_full_queue_refuses_at_once():
    """One is under way, two wait. With the time after which to come again; who waits is served, and others then."""
    counter = Counter()
    batcher = Batcher(counter.run, Batching(batch_max=8, queue_max=3))
    first, tasks = await queued(batcher, counter, 1, 2)
    with pytest.raises(Error) as told:
        await batcher.ask(3)
    assert ("OVERLOADED", True) == (told.value.reason, told.value.retry_after_s is not None)
    counter.gate.set()
    assert ["first", 1, 2] == await asyncio.gather(first, *tasks)
    assert 4 == await batcher.ask(4)
    assert not batcher.is_full()


async def test_what_was_answered_takes_no_place_in_the_pause():
    """A batch of several is followed by none for a while; who comes then finds the queue empty."""
    batcher = Batcher(Counter().run, Batching(batch_max=8, queue_max=2, pause_s=60))
    assert [1, 2] == await asyncio.gather(batcher.ask(1), batcher.ask(2))
    assert not batcher.is_full()
    batcher._flight.cancel()


def test_all_that_can_be_full_is_told_to_envoy():
    """It is asked for before there is a servicer."""
    assert set(rpc.BOUNDED) == set(rpc.Loms(None, pay_within_s=1, positions_max=1, batching=Batching(1, 1)).full)


async def test_only_the_look_does_not_wait_for_the_disk(loms):
    """Its connection makes the next commit durable again; so does whoever gets it from the pool."""
    await loms.receive(1001, 5)
    async with loms.db.pool.acquire() as conn:
        await placing._look(conn, [asked("a", Line(1001, 2))], lock=False)
        assert "on" == await conn.fetchval("SHOW synchronous_commit")
        async with conn.transaction():
            await placing._look(conn, [asked("a", Line(1001, 2))], lock=True)
            assert "on" == await conn.fetchval("SHOW synchronous_commit")


async def test_orders_of_a_batch_share_one_transaction(loms):
    """Many at once: a few transactions, each shelf written once in each, and all of it adds up."""
    for sku in (1001, 1002, 1003):
        await loms.receive(sku, 40)
    await loms.create((1001, 1))
    answers = await asyncio.gather(*(loms.create((1001, 1), (1002 + user % 2, 2), user=user) for user in range(1, 31)))
    assert {loms_pb2.ORDER_STATUS_AWAITING_PAYMENT} == {one.status for one in answers}
    assert {1: 9} == await loms.free(1001)
    transactions = await loms.db.pool.fetchval("SELECT count(DISTINCT xmin::text) FROM orders")
    assert transactions < 16
    await audit_of(loms)


async def test_the_last_units_go_to_who_came_first(loms):
    """What an order in front takes is short for those behind it; each is told what there was at its turn."""
    await loms.receive(1001, 5)
    wanted = [asked(f"order {number}", Line(1001, 2)) for number in range(4)]
    answers = await placing.create_many(loms.db, wanted, pay_within_s=600)
    awaiting, failed = loms_pb2.ORDER_STATUS_AWAITING_PAYMENT, loms_pb2.ORDER_STATUS_FAILED
    assert [awaiting, awaiting, failed, failed] == [one.status for one in answers]
    assert [(1001, 2, 1)] == [(short.sku, short.wanted, short.available) for short in answers[2].shortages]
    await audit_of(loms)


async def test_a_request_that_comes_again_in_a_batch_is_one_order(loms):
    """The same answer for the same request; another body under its id is refused; its neighbours are not touched."""
    await loms.receive(1001, 10)
    earlier = (await placing.create_many(loms.db, [asked("a", Line(1001, 1))], pay_within_s=600))[0]
    batch = [
        asked("a", Line(1001, 1)),
        asked("b", Line(1001, 2)),
        asked("b", Line(1001, 2)),
        asked("b", Line(1001, 3)),
        asked("a", Line(1001, 9)),
        asked("c", Line(1001, 3)),
    ]
    again, one, two, reused, reused_too, other = await placing.create_many(loms.db, batch, pay_within_s=600)
    assert earlier == again
    assert one == two
    assert ["REQUEST_ID_REUSED"] * 2 == [reused.reason, reused_too.reason]
    assert 3 == len({earlier.order_id, one.order_id, other.order_id})
    assert {1: 4} == await loms.free(1001)
    assert one == (await placing.create_many(loms.db, [batch[1]], pay_within_s=600))[0]
    await audit_of(loms)


async def test_who_is_beaten_between_look_and_hold_looks_again_with_locks(loms):
    """Somebody takes the units after the look: nothing of the first try stays, the second one finds them short."""
    await loms.receive(1001, 3)
    await loms.receive(1002, 3)
    async with loms.db.pool.acquire() as other, other.transaction():
        await other.execute("UPDATE stock SET on_hand = 1 WHERE sku = 1001")  # not committed: the look does not see it
        batch = [asked("a", Line(1001, 2)), asked("b", Line(1002, 2))]
        creating = asyncio.create_task(placing.create_many(loms.db, batch, pay_within_s=600))
        await until(lambda: waiting(loms.db), 1)
    short, held = await creating
    assert loms_pb2.ORDER_STATUS_FAILED == short.status
    assert [(1001, 2, 1)] == [(one.sku, one.wanted, one.available) for one in short.shortages]
    assert loms_pb2.ORDER_STATUS_AWAITING_PAYMENT == held.status
    assert [0, 2] == [row["reserved"] for row in await loms.db.pool.fetch("SELECT reserved FROM stock ORDER BY sku")]
    assert 2 == await loms.db.pool.fetchval("SELECT count(*) FROM requests WHERE method = $1", placing.METHOD)
    assert 2 == await loms.db.pool.fetchval("SELECT count(*) FROM order_history")


async def test_payments_and_cancellations_share_transactions(loms):
    """Right and wrong ones at once: each gets its own answer, what was right is done."""
    await loms.receive(1001, 100)
    made = [(await loms.create((1001, 1))).order_id for _ in range(20)]

    async def told(call):
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    calls = [loms.pay(order_id) for order_id in made[:10]] + [loms.pay(order_id) for order_id in made[:10]]
    calls += [loms.cancel(order_id) for order_id in made[10:]] + [loms.pay(10**9), loms.pay(made[0], version=7)]
    outcomes = await asyncio.gather(*(told(call) for call in calls))
    assert ["OK"] * 30 == outcomes[:30]
    assert "NOT_FOUND" == outcomes[30]
    assert outcomes[31] in ("OK", "ABORTED")  # paid before it came, or not
    assert {1: 90} == await loms.free(1001)
    await audit_of(loms)


async def test_a_refused_request_id_is_free_again(loms):
    """A payment that was refused is not remembered, though its neighbours' transaction went through."""
    await loms.receive(1001, 100)
    one, two = (await loms.create((1001, 1))), (await loms.create((1001, 1)))

    async def stale():
        with refused(grpc.StatusCode.ABORTED, "STALE_VERSION"):
            await loms.pay(one.order_id, version=9, request_id="mine")

    await asyncio.gather(stale(), loms.pay(two.order_id, request_id="other"))
    await loms.pay(one.order_id, request_id="mine")
    await loms.pay(one.order_id, request_id="mine")
    with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await loms.pay(two.order_id, request_id="mine")


@pytest.mark.parametrize("stored_first", [True, False])
async def test_a_payments_id_is_its_own_whatever_comes_beside_it(loms, stored_first):
    """A repeat gets its first answer and another body is refused, in whatever order a batch has them."""
    await loms.receive(1001, 10)
    one, other = (await loms.create((1001, 1))).order_id, (await loms.create((1001, 1))).order_id
    assert [loms_pb2.OrderPayedResponse()] == await changes.pay_many(loms.db, [paying(one, "mine")])
    batch = [paying(one, "mine"), paying(other, "mine")]
    outcomes = await changes.pay_many(loms.db, batch if stored_first else batch[::-1])
    repeated, reused = outcomes if stored_first else outcomes[::-1]
    assert (loms_pb2.OrderPayedResponse(), "REQUEST_ID_REUSED") == (repeated, reused.reason)
    assert "awaiting_payment" == await loms.db.pool.fetchval("SELECT status FROM orders WHERE id = $1", other)


async def test_a_refused_payment_leaves_its_id_to_the_next_of_the_batch(loms):
    """The first one under an id is refused, the second one, another, is done and remembered."""
    await loms.receive(1001, 10)
    order_id = (await loms.create((1001, 1))).order_id
    stale = paying(order_id, "mine")._replace(version=9, body_hash=b"stale")
    refusal, done = await changes.pay_many(loms.db, [stale, paying(order_id, "mine")])
    assert ("STALE_VERSION", loms_pb2.OrderPayedResponse()) == (refusal.reason, done)
    reused, repeated = await changes.pay_many(loms.db, [stale, paying(order_id, "mine")])
    assert ("REQUEST_ID_REUSED", loms_pb2.OrderPayedResponse()) == (reused.reason, repeated)


async def test_two_processes_and_few_shelves_do_not_deadlock(loms):
    """Orders, payments and cancellations over few shelves, by two sets of batchers: nobody waits in a circle."""
    for sku, warehouse_id in itertools.product(range(1, 5), (1, 2, 3)):
        await loms.receive(sku, 10_000, warehouse_id=warehouse_id)
    sides = [rpc.Loms(loms.db, pay_within_s=600, positions_max=20, batching=Batching(64, 1000)) for _ in range(2)]

    async def buy(number):
        chance = random.Random(number)
        side = sides[number % 2]
        lines = [Line(sku, chance.randint(1, 3)) for sku in sorted(chance.sample(range(1, 5), 3))]
        for turn in range(6):
            made = await side.creating.ask(asked(f"{number} {turn}", *lines))
            settle = chance.choice((side.paying.ask, side.cancelling.ask))
            await settle(paying(made.order_id, ""))

    before = await loms.db.pool.fetchval(DEADLOCKS)
    await asyncio.gather(*(buy(number) for number in range(48)))
    await loms.db.pool.execute("SELECT pg_stat_force_next_flush()")
    assert before == await loms.db.pool.fetchval(DEADLOCKS)
    await audit_of(loms)


async def test_a_shelf_that_somebody_keeps_locked_stops_its_own_orders_alone(loms):
    """Its order fails when the wait for the lock is over; its neighbours in the batch stand."""
    await loms.receive(1001, 5)
    await loms.receive(1002, 5)
    async with loms.db.pool.acquire() as other, other.transaction():
        await other.execute("UPDATE stock SET on_hand = on_hand WHERE sku = 1001")
        first = asyncio.create_task(loms.create((1002, 1)))
        outcomes = await asyncio.gather(
            loms.create((1001, 1)), loms.create((1002, 1)), loms.create((1002, 1)), return_exceptions=True
        )
    assert loms_pb2.ORDER_STATUS_AWAITING_PAYMENT == (await first).status
    assert isinstance(outcomes[0], grpc.aio.AioRpcError)
    assert [loms_pb2.ORDER_STATUS_AWAITING_PAYMENT] * 2 == [one.status for one in outcomes[1:]]


async def test_reads_share_queries(loms):
    """Stocks and orders asked for at once: each gets its own, one that is missing is missed by its caller alone."""
    await loms.receive(1001, 5)
    await loms.receive(1002, 7, warehouse_id=2)
    made = [(await loms.create((1001, 1), user=user)).order_id for user in (7, 8)]
    stocks = await asyncio.gather(*(loms.free(sku) for sku in (1001, 1002, 1003, 1001)))
    assert [{1: 3}, {2: 7}, {}, {1: 3}] == stocks

    async def missing():
        with refused(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"):
            await loms.show(10**9)

    first, _, second = await asyncio.gather(loms.show(made[0]), missing(), loms.show(made[1]))
    assert [7, 8] == [first.user, second.user]


def asked(request_id, *lines):
    body_hash = repr(lines).encode()
    return placing.Wanted("test", request_id, body_hash, 7, "RUB", lines)


def paying(order_id, request_id):
    return Asked("abacus.loms.v1.LomsService/OrderPayed", order_id, None, "test", request_id, f"{order_id}".encode())
