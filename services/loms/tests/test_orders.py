"""Orders through the door: created, shown, paid, cancelled, expired."""

import asyncio
import json
from datetime import UTC

import grpc
import pytest

from abacus.loms.v1 import loms_pb2
from kit.testing import person_token, refused, until
from loms import changes


async def test_an_order_holds_its_stock_until_it_is_paid(loms):
    """Create reserves, pay writes off; version, history and events tell both changes."""
    await loms.receive(1001, 5)
    created = await loms.create((1001, 2))
    assert loms_pb2.ORDER_STATUS_AWAITING_PAYMENT == created.status
    assert {1: 3} == await loms.free(1001)
    assert (5, 2) == tuple(await loms.db.pool.fetchrow("SELECT on_hand, reserved FROM stock"))

    await loms.pay(created.order_id)
    shown = await loms.show(created.order_id)
    assert (loms_pb2.ORDER_STATUS_PAID, 2) == (shown.status, shown.version)
    assert (3, 0) == tuple(await loms.db.pool.fetchrow("SELECT on_hand, reserved FROM stock"))
    assert {1: 3} == await loms.free(1001)
    assert [(change.version, change.status) for change in await loms.history(created.order_id)] == [
        (1, loms_pb2.ORDER_STATUS_AWAITING_PAYMENT),
        (2, loms_pb2.ORDER_STATUS_PAID),
    ]
    events = [(key, json.loads(payload)) for key, payload in await loms.events()]
    assert [(str(created.order_id), 1), (str(created.order_id), 2)] == [
        (key, event["version"]) for key, event in events
    ]
    assert {"sku": 1001, "count": 2, "name": "", "price": 0} == events[0][1]["items"][0]


async def test_a_cancelled_order_gives_its_stock_back(loms):
    """Cancel voids the holds and keeps the reason and who did it."""
    await loms.receive(1001, 5)
    created = await loms.create((1001, 2))
    await loms.cancel(created.order_id, reason="changed my mind")
    assert {1: 5} == await loms.free(1001)
    assert "changed my mind" == (await loms.show(created.order_id)).reason
    assert ["voided"] == [row["state"] for row in await loms.db.pool.fetch("SELECT state FROM holds")]
    last = (await loms.history(created.order_id))[-1]
    assert ("changed my mind", "local") == (last.reason, last.actor)


async def test_a_short_order_is_kept_as_failed(loms):
    """Nothing is held, the answer is OK and says what was short; the order stays readable."""
    await loms.receive(1001, 5)
    await loms.receive(1002, 1)
    created = await loms.create((1001, 2), (1002, 3), (1003, 1))
    assert loms_pb2.ORDER_STATUS_FAILED == created.status
    assert [(1002, 3, 1), (1003, 1, 0)] == [(line.sku, line.wanted, line.available) for line in created.shortages]
    assert not created.HasField("pay_by")
    shown = await loms.show(created.order_id)
    assert created.shortages == shown.shortages
    assert {1001: 2, 1002: 3, 1003: 1} == {item.sku: item.count for item in shown.items}
    assert {1: 5} == await loms.free(1001)


async def test_a_line_may_come_from_several_warehouses(loms):
    """Seven of five and three are held in both; paying takes them from both."""
    await loms.receive(1001, 5, warehouse_id=1)
    await loms.receive(1001, 3, warehouse_id=2)
    created = await loms.create((1001, 7))
    assert {1: 0, 2: 1} == await loms.free(1001)
    await loms.pay(created.order_id)
    assert {1: 0, 2: 1} == await loms.free(1001)


async def test_a_sku_named_twice_is_added_up(loms):
    """Two lines of one sku are one position."""
    await loms.receive(1001, 5)
    created = await loms.create((1001, 2), (1001, 3))
    assert [(1001, 5)] == [(item.sku, item.count) for item in (await loms.show(created.order_id)).items]
    assert {1: 0} == await loms.free(1001)


async def test_names_and_prices_stay_with_the_order(loms):
    """A service hands in what it sold; the order shows it with its total."""
    await loms.receive(1001, 5)
    item = loms_pb2.OrderItem(sku=1001, count=2, name="Чайник", price=149900)
    created = await loms.stub.CreateOrder(loms_pb2.CreateOrderRequest(user=7, items=[item]))
    shown = await loms.show(created.order_id)
    assert [item] == list(shown.items)
    assert (299800, "RUB") == (shown.total_price, shown.currency)


async def test_paying_or_cancelling_again_changes_nothing(loms):
    """The second call is OK; version, history and stock stay."""
    await loms.receive(1001, 5)
    paid, cancelled = await loms.create((1001, 1)), await loms.create((1001, 1))
    for _ in range(2):
        await loms.pay(paid.order_id)
        await loms.cancel(cancelled.order_id)
    assert 2 == len(await loms.history(paid.order_id))
    assert 2 == len(await loms.history(cancelled.order_id))
    assert {1: 4} == await loms.free(1001)


async def test_what_the_status_forbids_is_refused_with_it(loms):
    """Paying a cancelled or failed order and cancelling a paid one: FAILED_PRECONDITION with the status."""
    await loms.receive(1001, 5)
    paid, cancelled, failed = await loms.create((1001, 1)), await loms.create((1001, 1)), await loms.create((1001, 99))
    await loms.pay(paid.order_id)
    await loms.cancel(cancelled.order_id)
    for call, order, reason, status in (
        (loms.pay, cancelled, "ORDER_NOT_PAYABLE", "cancelled"),
        (loms.pay, failed, "ORDER_NOT_PAYABLE", "failed"),
        (loms.cancel, paid, "ORDER_NOT_CANCELLABLE", "paid"),
        (loms.cancel, failed, "ORDER_NOT_CANCELLABLE", "failed"),
    ):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, reason) as error:
            await call(order.order_id)
        assert status == error.metadata["status"]


async def test_a_stale_version_is_refused(loms):
    """A change that names the version it saw is refused when the order moved on; the right one goes through."""
    await loms.receive(1001, 5)
    created = await loms.create((1001, 1))
    with refused(grpc.StatusCode.ABORTED, "STALE_VERSION"):
        await loms.pay(created.order_id, version=2)
    await loms.pay(created.order_id, version=1)
    await loms.pay(created.order_id, version=1)  # a repeat finds its work done


async def test_orders_are_listed_by_user_and_status_in_pages(loms):
    """Newest first, page by page, each once; the status filters."""
    await loms.receive(1001, 100)
    made = [(await loms.create((1001, 1), user=user)).order_id for user in (7, 7, 8, 7, 7, 7)]
    await loms.pay(made[0])
    mine = [order_id for order_id, user in zip(made, (7, 7, 8, 7, 7, 7), strict=True) if user == 7]
    seen, token = [], ""
    while True:
        page = await loms.stub.ListOrders(loms_pb2.ListOrdersRequest(user=7, page_size=2, page_token=token))
        seen += [order.order_id for order in page.orders]
        token = page.next_page_token
        if not token:
            break
    assert mine[::-1] == seen
    paid = await loms.stub.ListOrders(loms_pb2.ListOrdersRequest(user=7, status=loms_pb2.ORDER_STATUS_PAID))
    assert [made[0]] == [order.order_id for order in paid.orders]


async def test_a_person_lists_his_own_orders(loms):
    """Newest first, page by page, each once, whatever is bought meanwhile; the status filters; nobody else's."""
    await loms.receive(1001, 100)
    made = [(await loms.create((1001, 1), user=user)).order_id for user in (7, 8, 7, 7)]
    made.append((await loms.place((1001, 2, "Чай", 5), user=7)).order_id)
    mine = [made[0], made[2], made[3], made[4]]
    await loms.pay(made[2])

    async def listed(**asked):
        token = (("authorization", f"Bearer {person_token(7)}"),)
        return await loms.stub.ListMyOrders(loms_pb2.ListMyOrdersRequest(**asked), metadata=token)

    first = await listed(page_size=2)
    await loms.create((1001, 1))
    second = await listed(page_size=2, page_token=first.next_page_token)
    assert mine[::-1] == [order.id for order in [*first.orders, *second.orders]]
    assert "" == second.next_page_token
    newest, paid = first.orders[0], second.orders[0]
    assert (loms_pb2.ORDER_STATUS_NEW, 10, "RUB", 1) == (
        newest.status,
        newest.total_amount,
        newest.currency,
        newest.version,
    )
    assert not newest.HasField("pay_by")
    shown = await loms.show(made[2])
    assert (shown.status, shown.version, shown.created_at, shown.updated_at, shown.pay_by) == (
        paid.status,
        paid.version,
        paid.created_at,
        paid.updated_at,
        paid.pay_by,
    )
    assert [made[2]] == [order.id for order in (await listed(status=loms_pb2.ORDER_STATUS_PAID)).orders]
    with refused(grpc.StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"):
        await loms.stub.ListMyOrders(loms_pb2.ListMyOrdersRequest())  # a service is nobody


async def test_anothers_order_is_one_that_does_not_exist(loms):
    """A person reads, reserves and cancels his own order; of another's he is told that there is none."""
    await loms.receive(1001, 5)
    placed = await loms.place((1001, 1), user=8)
    calls = [
        (loms.stub.GetOrder, loms_pb2.GetOrderRequest(order_id=placed.order_id)),
        (loms.stub.ReserveOrder, loms_pb2.ReserveOrderRequest(order_id=placed.order_id)),
        (loms.stub.CancelOrder, loms_pb2.CancelOrderRequest(order_id=placed.order_id)),
    ]
    for call, request in calls:
        with refused(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"):
            await call(request, metadata=(("authorization", f"Bearer {person_token(7)}"),))
    for call, request in calls:
        await call(request, metadata=(("authorization", f"Bearer {person_token(8)}"),))
    assert ["local", "user:8", "user:8"] == [change.actor for change in await loms.history(placed.order_id)]


class TestTimeout:
    """Orders that are not paid in time."""

    @pytest.fixture
    def pay_within_s(self):
        return 0.2

    async def test_an_unpaid_order_is_cancelled_and_its_stock_is_back(self, loms):
        """Never before pay_by; afterwards once, with its event, by loms itself."""
        await loms.receive(1001, 5)
        created = await loms.create((1001, 2))
        await until(lambda: changes.expire_once(loms.db), 1)
        assert 0 == await changes.expire_once(loms.db)
        assert {1: 5} == await loms.free(1001)
        last = (await loms.history(created.order_id))[-1]
        assert (loms_pb2.ORDER_STATUS_CANCELLED, "not paid in time", "loms") == (last.status, last.reason, last.actor)
        assert last.at.ToDatetime() > created.pay_by.ToDatetime()
        assert 2 == len(await loms.events())

    async def test_a_late_payment_is_refused_though_nobody_cancelled(self, loms):
        """After pay_by the payment is refused by the clock alone, and after the expiry by the status."""
        await loms.receive(1001, 5)
        created = await loms.create((1001, 2))
        await self.passed(loms, created)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "PAYMENT_TOO_LATE") as error:
            await loms.pay(created.order_id)
        assert "awaiting_payment" == error.metadata["status"]
        await changes.expire_once(loms.db)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_NOT_PAYABLE"):
            await loms.pay(created.order_id)

    async def test_time_spent_waiting_for_the_lock_counts(self, loms):
        """A payment that comes in time but gets the row after pay_by is refused."""
        await loms.receive(1001, 5)
        created = await loms.create((1001, 2))
        async with loms.db.transaction() as conn:
            await conn.execute("SELECT FROM orders FOR UPDATE")
            payment = asyncio.ensure_future(loms.pay(created.order_id))
            await self.passed(loms, created)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "PAYMENT_TOO_LATE"):
            await payment

    @staticmethod
    async def passed(loms, created):
        await loms.db.pool.execute(
            "SELECT pg_sleep_until($1::timestamptz + interval '1 ms')", created.pay_by.ToDatetime(tzinfo=UTC)
        )
