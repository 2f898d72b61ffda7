"""Both doors, each as a real process, behave alike: what clients see."""

import asyncio
import contextlib
import json
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from deploy.native.keys import LOCAL
from kit import asgi_door
from kit.calls import Dispatcher
from kit.testing import policy, refused, service_token, until
from kit.tests import echo

NAME = echo.SERVICE.full_name
HEALTH = health_pb2.HealthCheckResponse


def ask(order_id):
    return loms_pb2.ListOrderRequest(order_id=order_id)


async def facts(stub):
    return json.loads((await stub.ListOrder(ask(echo.LAST))).reason)


async def test_an_answer_says_how_it_was_called(loms):
    """The handler is told the caller, its address and agent, its language and what is left of its deadline."""
    told = json.loads((await loms.ListOrder(ask(echo.ECHO), timeout=2, metadata=[("accept-language", "en")])).reason)
    assert LOCAL == told["caller"]
    assert "127.0.0.1" == told["address"]
    assert told["agent"].startswith("grpc-python")
    assert "en" == told["language"]
    assert 1.5 < told["time_left_s"] <= 2


async def test_a_request_id_comes_as_metadata(loms):
    """And binary metadata beside it does no harm."""
    request = loms_pb2.CancelOrderRequest(order_id=1)
    await loms.CancelOrder(request, metadata=[("idempotency-key", "mine"), ("trace-bin", b"\x00\xff")])
    told = await facts(loms)
    assert ("mine", True) == (told["request_id"], told["given"])


async def test_who_cancels_much_ends_nobody_elses_calls(loms):
    """On the connection that they share: each of the others is answered."""

    async def patient():
        return [(await loms.ListOrder(ask(echo.ECHO))).order_id for _ in range(40)]

    async def fickle():
        for _ in range(60):
            call = loms.ListOrder(ask(echo.ECHO))
            await asyncio.sleep(0)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await call

    answers, *_ = await asyncio.gather(patient(), *(fickle() for _ in range(12)))
    assert 40 == len(answers)


async def test_an_error_comes_whole(loms):
    """Code, reason, a sentence in any language, field, time to wait: in trailers, which clients may try again."""
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "REFUSED", field="order_id") as told:
        await loms.ListOrder(ask(echo.FAIL))
    assert "not so: 100 % «нет»\n" == told.message
    assert 2 == told.retry_after_s
    assert {"left": "3"} == told.metadata


async def test_an_error_may_be_tried_again(started):
    """It comes without headers before it, so that a client's own policy of retries holds."""
    policy = {"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
              "retryableStatusCodes": ["FAILED_PRECONDITION"]}  # fmt: skip
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]}
    options = {"grpc.enable_retries": 1, "grpc.service_config": json.dumps(config)}
    async with started.calling(**options) as channel:
        stub = loms_pb2_grpc.LomsServiceStub(channel)
        before = (await facts(stub)).get("calls", 0)
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "REFUSED"):
            await stub.ListOrder(ask(echo.FAIL))
        assert 3 == (await facts(stub))["calls"] - before


async def test_a_failure_leaves_without_its_text(loms):
    """INTERNAL, and what broke is in the log."""
    with refused(grpc.StatusCode.INTERNAL, "INTERNAL") as told:
        await loms.ListOrder(ask(echo.BREAK))
    assert "password" not in told.message


async def test_a_deadline_is_the_callers(loms):
    """The caller is told at its deadline, and the handler is cut off at it."""
    before = (await loms.ListOrder(ask(echo.LAST))).version
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await loms.ListOrder(ask(echo.HANG), timeout=0.3)
    assert grpc.StatusCode.DEADLINE_EXCEEDED == caught.value.code()
    assert time.monotonic() - started < 1
    await until(lambda: loms.ListOrder(ask(echo.LAST)), before + 1, of=lambda answer: answer.version)


@pytest.mark.parametrize("how", ["reset", "disconnect"])
async def test_a_cancelled_call_ends_its_handler(started, loms, how):
    """Whether the client takes back the call or is gone with its connection; long before the call's timeout."""
    before = (await loms.ListOrder(ask(echo.LAST))).version
    hanging = sum("hanging" in line for line in started.lines)
    async with started.calling() as channel:
        call = loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(echo.HANG))
        task = asyncio.ensure_future(call)
        await started.said("hanging", times=hanging + 1)
        if how == "reset":
            task.cancel()
        else:
            await channel.close()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await task
        await until(lambda: loms.ListOrder(ask(echo.LAST)), before + 1, of=lambda answer: answer.version, within_s=1.5)


async def test_an_unknown_method_is_unimplemented(started):
    """Of a service that is there, and of one that is not."""
    async with started.calling() as channel:
        for path in (f"/{NAME}/Nothing", "/no.such.Service/Nothing"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"")
            assert grpc.StatusCode.UNIMPLEMENTED == caught.value.code()


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 20_000_000])
async def test_a_message_too_large_is_refused(started, size):
    """With RESOURCE_EXHAUSTED, however large; what just fits is read."""
    async with started.calling(**{"grpc.max_send_message_length": -1}) as channel:
        call = channel.unary_unary(f"/{NAME}/ListOrder")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff" * size)
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST"):
            await call(b"\xff" * 1024 * 1024)


async def test_a_large_answer_comes_whole(loms):
    """Larger than any window."""
    assert echo.BIG_BYTES == len((await loms.ListOrder(ask(echo.BIG))).currency)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_compressed_request_is_read(loms, compression):
    """The client's compression is its own affair."""
    request = loms_pb2.CancelOrderRequest(order_id=1, reason="x" * 400)
    await loms.CancelOrder(request, compression=compression)


async def test_health_answers_and_watches(started):
    """Check for the process and its service; NOT_FOUND for another. Watch tells the state at once and stays."""
    async with started.calling() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAME):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert HEALTH.SERVING == answer.status
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="none"))
        assert grpc.StatusCode.NOT_FOUND == caught.value.code()
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert HEALTH.SERVING == (await watch.read()).status
        watch.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_lists_and_describes(started, version):
    """A tool that knows nothing of the contract finds the service and a method's file, in one conversation."""
    asked = reflection_pb2.ServerReflectionRequest
    async with started.calling() as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=asked.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )()
        await call.write(asked(list_services=""))
        listed = await call.read()
        assert {NAME, "grpc.health.v1.Health"} <= {one.name for one in listed.list_services_response.service}
        await call.write(asked(file_containing_symbol=f"{NAME}.ListOrder"))
        assert (await call.read()).file_descriptor_response.file_descriptor_proto
        await call.done_writing()
        assert grpc.StatusCode.OK == await call.code()


async def test_bytes_that_are_no_http2_do_no_harm(started, loms):
    """The connection is closed; others go on."""

    async def send(bytes_):
        reader, writer = await asyncio.open_connection(*started.address.split(":"))
        writer.write(bytes_)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        writer.close()

    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    await asyncio.gather(*map(send, [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", preface + b"\xff" * 90, b"\x00" * 64]))
    await loms.ListOrder(ask(echo.ECHO))


async def test_many_calls_at_once(loms):
    """Each gets an answer, and its own."""

    async def call(order_id):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD") as told:
            await loms.ListOrder(ask(-order_id), timeout=10)
        return told

    await asyncio.gather(*(call(1 + n) for n in range(300)))


async def test_the_address_is_whom_a_trusted_proxy_names(loms):
    """The last one that it names."""
    forwarded = [("x-forwarded-for", "203.0.113.7, 198.51.100.9")]
    assert "198.51.100.9" == json.loads((await loms.ListOrder(ask(echo.ECHO), metadata=forwarded)).reason)["address"]


async def test_a_full_method_is_refused_and_its_neighbour_served(started):
    """At once, with how long to wait, before anybody asks who calls."""
    async with started.calling(token="") as channel:
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") as told:
            await loms_pb2_grpc.LomsServiceStub(channel).OrderPayed(loms_pb2.OrderPayedRequest(order_id=1), timeout=1)
        assert 0.5 == told.retry_after_s
    async with started.calling() as channel:
        await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(echo.ECHO), timeout=1)


async def test_a_deadline_counts_from_the_calls_start(started):
    """What the request took to come is gone for the handler."""

    async def request():
        await asyncio.sleep(0.5)
        yield ask(echo.ECHO).SerializeToString()

    async with started.calling() as channel:
        call = channel.stream_unary(f"/{NAME}/ListOrder", response_deserializer=loms_pb2.ListOrderResponse.FromString)
        token = [("authorization", f"Bearer {service_token(LOCAL, 'loms')}")]
        answer = await call(request(), timeout=2, metadata=token)
        assert 1 < json.loads(answer.reason)["time_left_s"] < 1.6


class AsgiCall:
    """A call as an ASGI server gives it to the pyvoy door: what it answers, and a client that sends nothing."""

    def __init__(self, *, method="POST", rpc="ListOrder", failure=None):
        headers = [(b"content-type", b"application/grpc")]
        self.scope = {"path": f"/{NAME}/{rpc}", "method": method, "headers": headers, "client": ("127.0.0.1", 1)}
        self.failure = failure
        self.answered = asyncio.Event()
        self.sent = []
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event):
        if self.failure:
            raise self.failure
        self.sent.append(event)
        if event["type"] == "http.response.body":
            self.answered.set()


@pytest.fixture
async def asgi():
    """The pyvoy door without its server."""
    served = (echo.SERVICE, echo.Echo(None))
    door = asgi_door.Door(Dispatcher(call_timeout_s=0.1, policy=policy(served)), [served])
    await door.start()
    yield door
    await door.stop()


async def test_one_call_that_fails_the_door_leaves_others_looked_after(asgi):
    """Neither an answer that cannot be sent nor anything else ends the look at those that come late."""
    calls = [AsgiCall(failure=ValueError("not of the kinds that are expected")), AsgiCall()]
    tasks = [asyncio.create_task(asgi(call.scope, call.receive, call.send)) for call in calls]
    await asyncio.wait_for(calls[1].answered.wait(), 5)
    assert b"4" == dict(calls[1].sent[0]["headers"])[b"grpc-status"]
    for call in calls:
        call.gone.set()
    await asyncio.gather(*tasks)


async def test_only_a_post_is_told_that_a_method_is_full(asgi):
    """Another HTTP method stays the mistake that it is."""
    call = AsgiCall(method="GET", rpc="OrderPayed")
    await asgi(call.scope, call.receive, call.send)
    assert 405 == call.sent[0]["status"]
