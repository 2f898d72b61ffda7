"""What callers may get wrong: each field is named, each reason is stable."""

import grpc
import pytest

from abacus.loms.v1 import loms_pb2
from kit.testing import refused
from loms.tests.conftest import wanted

BAD = {
    "sku 0": (wanted((1001, 1), (0, 1)), "items[1].sku"),
    "count 0": (wanted((1001, 1), (1002, 0)), "items[1].count"),
    "count above 65535": (wanted((1001, 1), (1002, 65536)), "items[1].count"),
    "counts of one sku above 65535": (wanted((1001, 65535), (1001, 1)), "items"),
    "no items": (wanted(), "items"),
    "21 positions": (wanted(*((sku, 1) for sku in range(1, 22))), "items"),
    "user 0": (wanted((1001, 1), user=0), "user"),
    "user below 0": (wanted((1001, 1), user=-1), "user"),
    "request id of 65 characters": (wanted((1001, 1), request_id="x" * 65), "request_id"),
    "request id not ASCII": (wanted((1001, 1), request_id="заказ"), "request_id"),
    "request id with a line break": (wanted((1001, 1), request_id="a\nb"), "request_id"),
    "currency": (wanted((1001, 1), currency="rub"), "currency"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_order_is_refused_by_field(loms, what):
    """INVALID_ARGUMENT with a BadRequest that names the field; nothing is written."""
    request, field = BAD[what]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, field=field):
        await loms.stub.CreateOrder(request)
    assert 0 == await loms.db.pool.fetchval("SELECT count(*) FROM orders")
    assert 0 == await loms.db.pool.fetchval("SELECT count(*) FROM requests")


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("ListOrder", loms_pb2.ListOrderRequest),
        ("OrderPayed", loms_pb2.OrderPayedRequest),
        ("CancelOrder", loms_pb2.CancelOrderRequest),
        ("GetOrderHistory", loms_pb2.GetOrderHistoryRequest),
        ("ReserveOrder", loms_pb2.ReserveOrderRequest),
        ("ConfirmOrder", loms_pb2.ConfirmOrderRequest),
        ("GetOrder", loms_pb2.GetOrderRequest),
        ("CreateReservation", loms_pb2.CreateReservationRequest),
    ],
)
async def test_an_order_that_is_not_there(loms, method, request_type):
    """NOT_FOUND for an unknown id, INVALID_ARGUMENT for one that cannot be."""
    call = getattr(loms.stub, method)
    with refused(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"):
        await call(request_type(order_id=2**63 - 1))
    for order_id in (0, -1):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, field="order_id"):
            await call(request_type(order_id=order_id))


async def test_a_request_id_has_one_body(loms):
    """The same id with another body is ALREADY_EXISTS; with the same body, also as metadata, the first answer."""
    await loms.receive(1001, 5)
    first = await loms.create((1001, 1), request_id="once")
    with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await loms.create((1001, 2), request_id="once")
    assert first == await loms.create((1001, 1), request_id="once")
    assert first == await loms.stub.CreateOrder(wanted((1001, 1)), metadata=(("idempotency-key", "once"),))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_CONFLICT"):
        await loms.stub.CreateOrder(wanted((1001, 1), request_id="once"), metadata=(("idempotency-key", "twice"),))


async def test_the_first_answer_is_given_again_whatever_came_of_the_order(loms):
    """After the cancellation the repeat still says what the first answer said."""
    await loms.receive(1001, 5)
    first = await loms.create((1001, 1), request_id="once")
    await loms.cancel(first.order_id)
    assert first == await loms.create((1001, 1), request_id="once")


@pytest.mark.parametrize("request_id", ["", "x" * 65])
async def test_stock_is_received_only_with_a_request_id(loms, request_id):
    """A repeat would add: no id, no receipt. The metadata is as good as the field."""
    request = loms_pb2.ReceiveStockRequest(warehouse_id=1, sku=1001, count=5, request_id=request_id)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, field="request_id"):
        await loms.stub.ReceiveStock(request)
    request.request_id = ""
    await loms.stub.ReceiveStock(request, metadata=(("idempotency-key", "once"),))
    assert {1: 5} == await loms.free(1001)


@pytest.mark.parametrize("token", ["x", "1.2", "007", "99999999999999999999", "١"])
async def test_a_page_token_that_is_none_of_ours(loms, token):
    """INVALID_ARGUMENT on page_token."""
    with refused(grpc.StatusCode.INVALID_ARGUMENT, field="page_token"):
        await loms.stub.ListOrders(loms_pb2.ListOrdersRequest(user=7, page_token=token))


async def test_bytes_that_are_no_message(loms):
    """What cannot be parsed is the caller's mistake, not ours."""
    call = loms.channel.unary_unary("/abacus.loms.v1.LomsService/CreateOrder")
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
        await call(b"\xff\xff\xff")
