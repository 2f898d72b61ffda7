"""The callers by hand: what they send is what the generated classes send, what they count is what a server answered."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st

from abacus.loms.v1 import loms_pb2
from kit import errors
from kit.errors import Reason
from tests.bench.callers import percentiles_ms
from tests.bench.echo import answer
from tests.bench.generator import calling
from tests.bench.traffic import (
    CANCEL,
    CREATE,
    LIST,
    METHODS,
    PAY,
    SERVICE,
    STOCKS,
    Source,
    Traffic,
    read_order_id,
    varint,
)
from tests.bench.wire import OK, reason_of

_REQUESTS: dict[int, Any] = {
    CREATE: loms_pb2.CreateOrderRequest,
    PAY: loms_pb2.OrderPayedRequest,
    CANCEL: loms_pb2.CancelOrderRequest,
    STOCKS: loms_pb2.StocksRequest,
    LIST: loms_pb2.ListOrderRequest,
}
SHORT = Reason(code_pb2.FAILED_PRECONDITION, "SHORT", "a test says so")


@given(number=st.integers(1, 2**63 - 1))
def test_numbers_are_written_as_protobuf_writes_them(number: int) -> None:
    """A field written by hand is the field that the class writes; an id read by hand is the one that it wrote."""
    assert loms_pb2.ListOrderRequest(order_id=number).SerializeToString() == b"\x08" + varint(number)
    message = loms_pb2.CreateOrderResponse(order_id=number, status=loms_pb2.ORDER_STATUS_FAILED).SerializeToString()
    assert number == read_order_id(b"\0" + len(message).to_bytes(4, "big") + message)


@pytest.mark.parametrize("lines", [1, 3, 10])
@pytest.mark.parametrize("zipf", [0.0, 1.0])
def test_orders_are_what_the_contract_says(lines: int, zipf: float) -> None:
    """Each has its lines, of different skus of the range, and an id that no other has."""
    source = Source(Traffic(lines=lines, zipf=zipf, skus=50))
    seen = set()
    for _ in range(200):
        method, body = source.next()
        order = loms_pb2.CreateOrderRequest.FromString(body)
        assert CREATE == method
        assert body == order.SerializeToString(deterministic=True)
        assert lines == len({item.sku for item in order.items}) == len(order.items)
        assert all(1 <= item.sku <= 50 and item.count == 1 for item in order.items)
        assert order.user > 0
        seen.add(order.request_id)
    assert 200 == len(seen)


def test_by_zipfs_law_the_first_sku_is_asked_for_most() -> None:
    """Of one-line orders over 100 skus, the first gets 1 / (1 + 1/2 + … + 1/100) = 19 %, the second half of that."""
    source = Source(Traffic(lines=1, zipf=1.0, skus=100))
    asked = Counter(loms_pb2.CreateOrderRequest.FromString(source.next()[1]).items[0].sku for _ in range(20_000))
    assert 0.17 < asked[1] / 20_000 < 0.21
    assert 0.08 < asked[2] / 20_000 < 0.11


def test_the_mix_pays_and_cancels_what_was_made() -> None:
    """Requests come in the promised shares, each order is paid or cancelled once, all can be parsed."""
    source, methods, moved = Source(Traffic(kind="mix")), Counter[int](), Counter[int]()
    for number in range(1, 5001):
        method, body = source.next()
        request: Any = _REQUESTS[method].FromString(body)
        methods[method] += 1
        if method == CREATE:
            message = loms_pb2.CreateOrderResponse(order_id=number).SerializeToString()
            source.made(b"\0" + len(message).to_bytes(4, "big") + message)
        elif method in (PAY, CANCEL):
            moved[request.order_id] += 1
            assert len(request.request_id) > 10
    assert {1} == set(moved.values())
    assert 0.42 < methods[CREATE] / 5000 < 0.52
    assert 0.38 < methods[PAY] / 5000 < 0.48
    assert set(range(len(METHODS))) == set(methods)


def test_percentiles() -> None:
    """In milliseconds, of the lags in order; zeros where there are none."""
    assert {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.0, "max": 100.0} == percentiles_ms(
        [number / 1000 for number in range(100, 0, -1)]
    )
    assert {0.0} == set(percentiles_ms([]).values())


class _Server:
    """A grpc.aio server that answers as told."""

    def __init__(self) -> None:
        self.calls = 0
        self.refuse_every = 0
        self.delay_s = 0.0
        self.sizes: set[int] = set()

    async def serve(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.calls += 1
        self.sizes.add(len(request))
        assert "Bearer a token" == dict(context.invocation_metadata())["authorization"]
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.refuse_every and self.calls % self.refuse_every == 0:
            await context.abort_with_status(rpc_status.to_status(errors.to_status(SHORT("there is none left"))))
        return answer()


@asynccontextmanager
async def _serving(port: str = "0", **options: int) -> AsyncIterator[tuple[_Server, str]]:
    told = _Server()
    server = grpc.aio.server(options=[(f"grpc.{name}", value) for name, value in options.items()])
    handlers = {name: grpc.unary_unary_rpc_method_handler(told.serve) for name in METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.strip("/"), handlers),))
    listening = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield told, f"127.0.0.1:{listening}"
    finally:
        await server.stop(None)


async def test_answers_are_counted_as_they_were_given() -> None:
    """Every call is answered OK or refused by its reason; none is lost, none counted twice."""
    async with _serving() as (told, address), calling(address, "a token", Traffic(), connections=2) as callers:
        told.refuse_every = 5
        load = await callers.closed(0.5, callers=16)
        assert {"FAILED_PRECONDITION/SHORT"} == set(load.refused)
        assert told.calls == load.ok + load.refused["FAILED_PRECONDITION/SHORT"]
        assert told.calls // 5 == load.refused["FAILED_PRECONDITION/SHORT"]
        assert load.ok == load.orders == sum(count for count, _ in load.series)
        assert 0 == load.unanswered
        told.refuse_every = told.calls = 0
        load = await callers.closed(10, callers=8, calls_max=100)
        assert 100 == load.ok == told.calls


async def test_waiting_shows_in_paced_calls() -> None:
    """Calls are timed from when they were meant to start: where the peer takes one stream at a time, they queue."""
    limited = _serving(max_concurrent_streams=1)
    async with limited as (told, address), calling(address, "a token", Traffic(), connections=1) as callers:
        told.delay_s = 0.01
        load = await callers.paced(1.0, per_s=200)
        assert 200 * 0.7 < load.ok < 200 * 1.3
        assert load.seconds > 1.4  # 200 calls of at least 10 ms, one after the other
        assert load.lag_ms["max"] > 400


async def test_large_answers_and_requests_pass_the_windows() -> None:
    """More bytes than an HTTP/2 window go through in both directions."""
    async with _serving() as (told, address), calling(address, "a token", Traffic(lines=1000)) as callers:
        load = await callers.closed(0.5, callers=8)
        assert load.ok * min(told.sizes) > 200_000
        assert {} == load.refused


async def test_a_server_that_goes_away_is_found_again() -> None:
    """Calls that it cannot take are refused; when it is back on its port, callers go on."""
    async with AsyncExitStack() as callers_open:
        async with _serving() as (_, address):
            callers = await callers_open.enter_async_context(calling(address, "a token", Traffic()))
            assert (await callers.closed(0.2, callers=4)).ok > 0
        lost = await callers.paced(0.2, per_s=100)
        assert 0 == lost.ok
        assert {"NO_CONNECTION", "GOAWAY", "CONNECTION_LOST"} >= set(lost.refused)
        async with _serving(port=address.rpartition(":")[2]):
            back = await callers.paced(1.0, per_s=100)
        assert back.ok > 50


def test_reasons_of_trailers() -> None:
    """A refusal is told by its code and reason, by its code and words, or by the HTTP status."""
    assert OK == reason_of({"grpc-status": "0"})
    assert "UNAVAILABLE: too many" == reason_of({"grpc-status": "14", "grpc-message": "too%20many"})
    assert "HTTP_503" == reason_of({":status": "503"})
