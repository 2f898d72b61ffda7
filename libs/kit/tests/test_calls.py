"""What every call goes through, seen from outside: a servicer of loms's contract behind the real door."""

import asyncio
import time

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from kit import client
from kit.access import Owned
from kit.calls import Dispatcher
from kit.errors import NOT_ALLOWED, TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_MISSING, Error, Reason
from kit.grpc_door import Door
from kit.testing import policy, refused, service_key

SERVICE = loms_pb2.DESCRIPTOR.services_by_name["LomsService"]
SECRET = "password of db.internal:5432"


class Servicer:
    """Answers ListOrder with what the test says, counts calls."""

    def __init__(self):
        self.calls = []
        self.answer = lambda: loms_pb2.ListOrderResponse()
        self.owned = {"order_id": Owned(owner_of=None, missing=None)}  # nobody asks for another's here

    def __getattr__(self, name):
        if name not in SERVICE.methods_by_name:
            raise AttributeError(name)

        async def handle(request, call):
            self.calls.append((request, call))
            answer = self.answer()
            return await answer if asyncio.iscoroutine(answer) else answer

        return handle

    def fail(self, error):
        def answer():
            raise error

        self.answer = answer


@pytest.fixture
def servicer():
    return Servicer()


@pytest.fixture
async def channel(open_door, servicer):
    return await open_door(SERVICE, servicer, call_timeout_s=0.5)


@pytest.fixture
async def loms(channel):
    return loms_pb2_grpc.LomsServiceStub(channel)


ASK = loms_pb2.ListOrderRequest(order_id=1)


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), asyncpg.UndefinedTableError(SECRET)])
async def test_an_unknown_failure_leaves_without_its_text(loms, servicer, error):
    """INTERNAL, and not a word of what is inside."""
    servicer.fail(error)
    with refused(grpc.StatusCode.INTERNAL, "INTERNAL") as told:
        await loms.ListOrder(ASK)
    assert SECRET not in told.message


@pytest.mark.parametrize(
    "error",
    [ConnectionRefusedError(SECRET), asyncpg.TooManyConnectionsError(SECRET), asyncpg.AdminShutdownError(SECRET),
     asyncpg.InterfaceError(SECRET), TimeoutError(SECRET), asyncpg.DeadlockDetectedError(SECRET)],
)  # fmt: skip
async def test_an_absent_database_is_unavailable(loms, servicer, error):
    """UNAVAILABLE with a time to wait, and not a word of what is inside."""
    servicer.fail(error)
    with refused(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE") as told:
        await loms.ListOrder(ASK)
    assert SECRET not in told.message
    assert told.retry_after_s == 1


async def test_a_call_ends_when_the_server_lost_patience(loms, servicer):
    """Where the caller sets no deadline, the server's own is UNAVAILABLE."""
    servicer.answer = lambda: asyncio.sleep(60)
    started = time.monotonic()
    with refused(grpc.StatusCode.UNAVAILABLE, "TIMEOUT"):
        await loms.ListOrder(ASK)
    assert time.monotonic() - started < 5


async def test_a_call_ends_with_its_callers_deadline(loms, servicer):
    """Where the caller sets one, the handler is told it, and is cut off at it."""
    cut_off = asyncio.Event()

    async def hang():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cut_off.set()
            raise

    servicer.answer = hang
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await loms.ListOrder(ASK, timeout=0.2)
    assert grpc.StatusCode.DEADLINE_EXCEEDED == caught.value.code()
    await asyncio.wait_for(cut_off.wait(), 0.2)
    (_, call) = servicer.calls[0]
    assert call.time_left_s() <= 0


async def test_an_error_names_only_so_many_fields(loms):
    """A thousand bad items are INVALID_ARGUMENT too: their names must fit into a trailer."""
    request = loms_pb2.CreateOrderRequest(user=1, items=[loms_pb2.OrderItem()] * 1000)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="items[0].sku") as told:
        await loms.CreateOrder(request)
    assert 20 == len(told.fields)


async def test_a_request_id_is_given_or_made(loms, servicer):
    """In the message or as metadata it is the caller's; without one the server makes it."""
    request = loms_pb2.CreateOrderRequest(user=1, items=[loms_pb2.OrderItem(sku=1, count=1)])
    servicer.answer = lambda: loms_pb2.CreateOrderResponse()
    await loms.CreateOrder(request)
    await loms.CreateOrder(request, metadata=(("idempotency-key", "mine"),))
    made, given = (call for _, call in servicer.calls)
    assert (False, True) == (made.has_request_id, given.has_request_id)
    assert made.request_id
    assert "mine" == given.request_id


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("en-US,en;q=0.9", "en"),
        ("ru", "ru"),
        ("de", "ru"),
        (None, "ru"),
        ("de,en;q=0.5", "en"),
        ("en;q=0,ru", "ru"),
        ("ru;q=0.1, EN;q=0.9", "en"),
        ("en;q=x", "ru"),
        ("en;q=nan", "ru"),
        (",;q=1,", "ru"),
    ],
)
async def test_the_language_is_the_callers(loms, servicer, accepted, language):
    """English where it is asked for, else Russian."""
    await loms.ListOrder(ASK, metadata=(("accept-language", accepted),) if accepted else None)
    assert language == servicer.calls[0][1].language


async def test_a_message_that_is_too_large_is_refused(loms):
    """More than 1 MiB never reaches the handler."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await loms.CancelOrder(loms_pb2.CancelOrderRequest(order_id=1, reason="x" * 2_000_000))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()


async def test_health_and_reflection_answer(channel):
    """The standard services tell that it serves, and what."""
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", SERVICE.full_name):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert health_pb2.HealthCheckResponse.SERVING == answer.status
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = reflection.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await call.read()
    assert SERVICE.full_name in [service.name for service in answer.list_services_response.service]
    for symbol, known in ((f"{SERVICE.full_name}.Stocks", True), (f"{SERVICE.full_name}.Nothing", False)):
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        answer = await reflection.ServerReflectionInfo(iter([asked])).read()
        assert known == answer.HasField("file_descriptor_response")


async def test_a_servicer_that_leaves_an_rpc_out_does_not_start(servicer):
    """The contract is served whole or not at all."""
    with pytest.raises(AttributeError):
        Door(Dispatcher(call_timeout_s=1, policy=policy((SERVICE, servicer))), [(SERVICE, object())])


class TestClient:
    """kit.client, as services use it to call each other."""

    @pytest.fixture
    async def peer_port(self, servicer):
        door = Door(Dispatcher(call_timeout_s=1, policy=policy((SERVICE, servicer))), [(SERVICE, servicer)])
        yield await door.start("127.0.0.1:0")
        await door.server.stop(None)

    @pytest.fixture
    async def peer(self, peer_port):
        async with client.connect(f"127.0.0.1:{peer_port}", service_key("local")) as channel:
            yield loms_pb2_grpc.LomsServiceStub(channel)

    async def test_errors_come_back_as_themselves(self, peer, servicer):
        """Code, reason, metadata and fields are what the peer raised."""
        servicer.fail(
            Reason(9, "ORDER_NOT_PAYABLE", "a test says so")("order 1 is failed", status="failed", field="order_id")
        )
        with pytest.raises(Error) as caught:
            await peer.ListOrder(ASK)
        error = caught.value
        assert (9, "ORDER_NOT_PAYABLE", {"status": "failed"}) == (error.code, error.reason, error.metadata)
        assert [("order_id", "order 1 is failed")] == error.fields

    async def test_unavailable_is_tried_again_with_the_same_request_id(self, peer, servicer):
        """Two refusals and then an answer: one call for the caller, one id for the peer."""
        answers = iter([ConnectionRefusedError(), ConnectionRefusedError()])

        def answer():
            for error in answers:
                raise error
            return loms_pb2.CreateOrderResponse(order_id=5)

        servicer.answer = answer
        request = loms_pb2.CreateOrderRequest(user=1, items=[loms_pb2.OrderItem(sku=1, count=1)])
        assert 5 == (await peer.CreateOrder(request)).order_id
        assert 3 == len(servicer.calls)
        assert 1 == len({call.request_id for _, call in servicer.calls})

    async def test_other_errors_are_not_tried_again(self, peer, servicer):
        """A peer's INTERNAL is ours too, without its text."""
        servicer.fail(RuntimeError(SECRET))
        with pytest.raises(Error) as caught:
            await peer.ListOrder(ASK)
        assert "INTERNAL" == caught.value.reason
        assert 1 == len(servicer.calls)

    @pytest.mark.parametrize("reason", [TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED, NOT_ALLOWED])
    async def test_what_a_peer_says_of_our_token_is_our_fault(self, peer, servicer, reason):
        """Our caller has another token, which is good: he must not hear that it is not."""
        servicer.fail(reason("no"))
        with pytest.raises(RuntimeError, match=f"loms does not take our token: {reason.name}"):
            await peer.ListOrder(ASK)

    async def test_the_callers_message_stays_as_it_is(self, peer, servicer):
        """Sent twice it is two requests, each with an id of its own."""
        servicer.answer = lambda: loms_pb2.CreateOrderResponse()
        request = loms_pb2.CreateOrderRequest(user=1, items=[loms_pb2.OrderItem(sku=1, count=1)])
        for _ in range(2):
            await peer.CreateOrder(request)
        assert "" == request.request_id
        assert 2 == len({call.request_id for _, call in servicer.calls})

    @pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "CANCELLED", "UNKNOWN", "ABORTED"])
    async def test_what_a_peers_transport_says_is_unavailable(self, code):
        """A code without a reason of ours: the peer is full, or going, and may be asked again."""

        async def abort(body, context):
            await context.abort(grpc.StatusCode[code])

        handlers = {"ListOrder": grpc.unary_unary_rpc_method_handler(abort)}
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with client.connect(f"127.0.0.1:{port}", service_key("local")) as channel:
            with pytest.raises(Error) as caught:
                await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ASK)
        await server.stop(None)
        assert "PEER_UNAVAILABLE" == caught.value.reason

    async def test_a_peer_may_be_named(self, peer_port):
        """A host's name is looked up, as compose files and Kubernetes give them."""
        async with client.connect(f"localhost:{peer_port}", service_key("local")) as channel:
            await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ASK)

    async def test_an_absent_peer_is_unavailable_in_time(self):
        """Nobody listens: a bounded wait, then PEER_UNAVAILABLE."""
        async with client.connect("127.0.0.1:1", service_key("local")) as channel:
            started = time.monotonic()
            with pytest.raises(Error) as caught:
                await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ASK)
            assert time.monotonic() - started < client.TIMEOUT_S + 1
        assert "PEER_UNAVAILABLE" == caught.value.reason
