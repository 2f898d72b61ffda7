"""Stock through the door: received, adjusted, never below what orders hold."""

import grpc
import pytest

from abacus.loms.v1 import loms_pb2
from kit.testing import refused


def adjustment(delta, *, sku=1001, request_id="a"):
    return loms_pb2.AdjustStockRequest(warehouse_id=1, sku=sku, delta=delta, request_id=request_id, reason="count")


async def test_received_units_add_up_once(loms):
    """A repeated receipt gives its first answer and adds nothing; movements sum to on_hand."""
    first = loms_pb2.ReceiveStockRequest(warehouse_id=1, sku=1001, count=5, request_id="r")
    second = loms_pb2.ReceiveStockRequest(warehouse_id=1, sku=1001, count=2, request_id="s")
    answers = [(await loms.stub.ReceiveStock(request)).on_hand for request in (first, second, first)]
    assert [5, 7, 5] == answers
    assert {1: 7} == await loms.free(1001)
    assert 7 == await loms.db.pool.fetchval("SELECT sum(delta) FROM movements")


async def test_an_adjustment_never_goes_below_what_orders_hold(loms):
    """Down to the held units and no further; the refusal leaves no trace."""
    await loms.receive(1001, 5)
    await loms.create((1001, 2))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "STOCK_BELOW_RESERVED"):
        await loms.stub.AdjustStock(adjustment(-4))
    answer = await loms.stub.AdjustStock(adjustment(-3))  # the refused request was not stored
    assert (2, 2) == (answer.on_hand, answer.reserved)
    assert 2 == await loms.db.pool.fetchval("SELECT sum(delta) FROM movements")


async def test_an_unknown_shelf_cannot_be_adjusted(loms):
    """A warehouse that never received the sku has nothing to correct."""
    with refused(grpc.StatusCode.NOT_FOUND, "STOCK_NOT_FOUND"):
        await loms.stub.AdjustStock(adjustment(1))


async def test_a_sku_never_received_has_no_stock(loms):
    """No rows, and no error."""
    assert {} == await loms.free(4294967295)


@pytest.mark.parametrize("delta", [0, 1_000_000_001, -1_000_000_001])
async def test_a_senseless_adjustment_is_refused(loms, delta):
    """The contract's bounds hold."""
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="delta"):
        await loms.stub.AdjustStock(adjustment(delta))


async def listed(loms, **asked):
    answer = await loms.stub.ListStocks(loms_pb2.ListStocksRequest(**asked))
    return [
        (one.product_id, one.available, {stock.warehouse_id: stock.count for stock in one.warehouses})
        for one in answer.stocks
    ], answer.next_page_token


async def test_all_stock_is_listed_in_pages(loms):
    """In rising order of products, each once with all of its warehouses, whatever is received meanwhile."""
    for sku in (1003, 1001, 1002, 4294967295):
        await loms.receive(sku, 5, warehouse_id=1)
        await loms.receive(sku, 2, warehouse_id=2)
    await loms.create((1001, 6))
    first, token = await listed(loms, page_size=2)
    assert [(1001, 1, {1: 0, 2: 1}), (1002, 7, {1: 5, 2: 2})] == first
    await loms.receive(1000, 1)
    second, token = await listed(loms, page_size=2, page_token=token)
    assert [(1003, 7, {1: 5, 2: 2}), (4294967295, 7, {1: 5, 2: 2})] == second
    assert "" == token
    assert 5 == len((await listed(loms))[0])


async def test_stock_of_products_named(loms):
    """Each once, in the order named, on one page whatever its size; one never received has none."""
    await loms.receive(1001, 5)
    await loms.receive(1002, 5, warehouse_id=3)
    named = [1002, 9, 1001, 1002]
    wanted = [(1002, 5, {3: 5}), (9, 0, {}), (1001, 5, {1: 5})]
    assert (wanted, "") == await listed(loms, product_ids=named, page_size=1)
    found, token = await listed(loms, product_ids=range(1000, 2000))
    assert ([*range(1000, 2000)], 10, "") == ([one[0] for one in found], sum(one[1] for one in found), token)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"product_ids": [1, 0]}, "product_ids[1]"),
        ({"product_ids": range(1, 1002)}, "product_ids"),
        ({"page_size": 101}, "page_size"),
        ({"page_token": "x"}, "page_token"),
    ],
)
async def test_stock_is_not_listed_without_bounds(loms, asked, field):
    """INVALID_ARGUMENT that names the field."""
    with refused(grpc.StatusCode.INVALID_ARGUMENT, field=field):
        await listed(loms, **asked)
