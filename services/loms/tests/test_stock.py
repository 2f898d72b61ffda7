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
