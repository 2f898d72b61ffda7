"""Reservations: what one order holds, seen by itself."""

import asyncio
from datetime import UTC

import grpc
import pytest

from abacus.loms.v1 import loms_pb2
from kit.testing import refused
from loms import changes
from loms.tests.looks import audit_of

HELD = loms_pb2.RESERVATION_STATUS_HELD
POSTED = loms_pb2.RESERVATION_STATUS_POSTED
VOIDED = loms_pb2.RESERVATION_STATUS_VOIDED
EXPIRED = loms_pb2.RESERVATION_STATUS_EXPIRED
FAILED = loms_pb2.RESERVATION_STATUS_FAILED


@pytest.fixture
async def desk(loms):
    """Seven units of sku 1 in two warehouses, five of sku 2."""
    await loms.receive(1, 4)
    await loms.receive(1, 3, warehouse_id=2)
    await loms.receive(2, 5)
    return loms


async def create(loms, order_id, *items, **more):
    wanted = [loms_pb2.ReservationItem(product_id=sku, quantity=units) for sku, units in items]
    return await loms.stub.CreateReservation(loms_pb2.CreateReservationRequest(order_id=order_id, items=wanted, **more))


async def confirm(loms, order_id, **more):
    return await loms.stub.ConfirmReservation(loms_pb2.ConfirmReservationRequest(reservation_id=order_id, **more))


async def release(loms, order_id, **more):
    return await loms.stub.ReleaseReservation(loms_pb2.ReleaseReservationRequest(reservation_id=order_id, **more))


async def test_a_reservation_holds_what_its_order_has(desk):
    """Items of all warehouses are added up; it was made when they were held, and expires when the order does."""
    placed = await desk.place((1, 6), (2, 1))
    made = await create(desk, placed.order_id, (2, 1), (1, 4), (1, 2))
    order = await desk.get(placed.order_id)
    assert (placed.order_id, HELD, [], order.pay_by) == (
        made.reservation_id,
        made.status,
        list(made.shortages),
        made.expires_at,
    )
    found = await desk.reservation(placed.order_id)
    assert (placed.order_id, placed.order_id, HELD) == (found.reservation_id, found.order_id, found.status)
    assert [(1, 6), (2, 1)] == [(item.product_id, item.reserved_quantity) for item in found.items]
    assert (order.history[1].at, order.pay_by) == (found.created_at, found.expires_at)
    assert 1 == sum((await desk.free(1)).values())
    await audit_of(desk)


async def test_without_items_it_holds_all(desk):
    """And again: the same, also under a request id, which another body may not have."""
    placed = await desk.place((1, 2))
    made = await create(desk, placed.order_id, request_id="once")
    assert HELD == made.status
    assert [made] * 3 == [
        await create(desk, placed.order_id),
        await create(desk, placed.order_id, request_id="once"),
        await create(desk, placed.order_id, (1, 2)),
    ]
    with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await create(desk, placed.order_id, (1, 2), request_id="once")
    await desk.reserve(placed.order_id, request_id="once")  # another method, another scope
    assert 2 == len(await desk.history(placed.order_id))


@pytest.mark.parametrize("items", [[(1, 1)], [(1, 3)], [(2, 2)], [(1, 2), (2, 1)], [(1, 65535), (1, 65535)]])
async def test_other_items_than_the_orders_are_refused(desk, items):
    """Fewer, more, others: nothing is held, and the field is named; also of an order that is reserved."""
    placed = await desk.place((1, 2))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "ITEMS_DIFFER", field="items"):
        await create(desk, placed.order_id, *items)
    assert 7 == sum((await desk.free(1)).values())
    await desk.reserve(placed.order_id)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "ITEMS_DIFFER", field="items"):
        await create(desk, placed.order_id, *items)


async def test_a_short_reservation_fails(desk):
    """OK with what was short; nothing is held, it can be seen, and neither confirmed nor released."""
    placed = await desk.place((1, 8), (2, 1))
    made = await create(desk, placed.order_id)
    assert (FAILED, [(1, 8, 7)]) == (
        made.status,
        [(short.sku, short.wanted, short.available) for short in made.shortages],
    )
    assert not made.HasField("expires_at")
    found = await desk.reservation(placed.order_id)
    assert (FAILED, [], False) == (found.status, list(found.items), found.HasField("expires_at"))
    assert (await desk.history(placed.order_id))[1].at == found.created_at
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_PAID"):
        await confirm(desk, placed.order_id)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_CANCELLABLE"):
        await release(desk, placed.order_id)


async def test_an_order_of_createorder_has_its_reservation_too(desk):
    """It was held with the order."""
    held, short = await desk.create((1, 5)), await desk.create((1, 5))
    found = await desk.reservation(held.order_id)
    assert ([(1, 5)], HELD, held.pay_by) == (
        [(item.product_id, item.reserved_quantity) for item in found.items],
        found.status,
        found.expires_at,
    )
    assert FAILED == (await desk.reservation(short.order_id)).status


async def test_it_is_posted_when_its_order_is_paid(desk):
    """Confirming is refused before, and OK from then on, however often; release is not."""
    placed = await desk.place((1, 2))
    await create(desk, placed.order_id)
    with refused(grpc.StatusCode.ABORTED, "STALE_VERSION"):
        await confirm(desk, placed.order_id, version=1)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_PAID"):
        await confirm(desk, placed.order_id, version=2)
    await desk.pay(placed.order_id)
    for _ in range(2):
        confirmed = await confirm(desk, placed.order_id)
        assert (placed.order_id, POSTED) == (confirmed.reservation_id, confirmed.status)
    found = await desk.reservation(placed.order_id)
    assert (POSTED, [(1, 2)], False) == (
        found.status,
        [(item.product_id, item.reserved_quantity) for item in found.items],
        found.HasField("expires_at"),
    )
    assert POSTED == (await create(desk, placed.order_id)).status
    assert not (await create(desk, placed.order_id)).HasField("expires_at")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_CANCELLABLE"):
        await release(desk, placed.order_id)
    await desk.confirm(placed.order_id)
    assert (POSTED, POSTED) == (
        (await confirm(desk, placed.order_id)).status,
        (await desk.reservation(placed.order_id)).status,
    )


async def test_a_release_gives_the_units_back_once(desk):
    """Five at once, with and without an id: the order is cancelled once; the reservation is voided and stays seen."""
    placed = await desk.place((1, 5))
    await create(desk, placed.order_id)
    with refused(grpc.StatusCode.ABORTED, "STALE_VERSION"):
        await release(desk, placed.order_id, version=1)
    answers = await asyncio.gather(
        *(release(desk, placed.order_id, request_id="once" if number % 2 else "") for number in range(5))
    )
    assert {(placed.order_id, VOIDED)} == {(answer.reservation_id, answer.status) for answer in answers}
    assert 7 == sum((await desk.free(1)).values())
    found = await desk.reservation(placed.order_id)
    assert (VOIDED, [(1, 5)]) == (
        found.status,
        [(item.product_id, item.reserved_quantity) for item in found.items],
    )
    assert ["", "", ""] == [change.reason for change in await desk.history(placed.order_id)]
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_RESERVABLE"):
        await create(desk, placed.order_id)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_PAID"):
        await confirm(desk, placed.order_id)
    other = (await desk.create((1, 1))).order_id
    with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await release(desk, other, request_id="once")
    await audit_of(desk)


async def test_nobody_asked_for_its_stock(desk):
    """No reservation of an order that does not exist, is new, or was cancelled while it was new."""
    new, cancelled = (await desk.place((1, 1))).order_id, (await desk.place((1, 1))).order_id
    await desk.cancel(cancelled)
    for order_id in (new, cancelled, 2**63 - 1):
        for call in (
            desk.reservation,
            lambda order_id: confirm(desk, order_id),
            lambda order_id: release(desk, order_id),
        ):
            with refused(grpc.StatusCode.NOT_FOUND, "RESERVATION_NOT_FOUND"):
                await call(order_id)
    assert loms_pb2.ORDER_STATUS_NEW == (await desk.show(new)).status


class TestTimeout:
    """A reservation whose order is not paid in time."""

    @pytest.fixture
    def pay_within_s(self):
        return 0.1

    async def test_it_expires(self, desk):
        """Its units are free; a release then finds it so."""
        placed = await desk.place((1, 5))
        made = await create(desk, placed.order_id)
        await desk.db.pool.execute(
            "SELECT pg_sleep_until($1::timestamptz + interval '1 ms')", made.expires_at.ToDatetime(tzinfo=UTC)
        )
        assert HELD == (await desk.reservation(placed.order_id)).status
        assert 1 == await changes.expire_once(desk.db)
        assert 7 == sum((await desk.free(1)).values())
        found = await desk.reservation(placed.order_id)
        assert (EXPIRED, False) == (found.status, found.HasField("expires_at"))
        assert EXPIRED == (await release(desk, placed.order_id)).status
        await audit_of(desk)
