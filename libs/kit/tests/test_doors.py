"""Both doors, each as a real process, behave alike: what clients see, and how processes start, share, drain and die."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import asyncpg
import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from deploy.native import stack
from deploy.native.keys import LOCAL
from kit import migrate
from kit.grpc_door import MAX_CONCURRENT_CALLS
from kit.testing import Bearer, refused, service_key, service_token, until
from kit.tests import echo

NAME = echo.SERVICE.full_name
DOORS = ["grpcio", "pyvoy"]
HEALTH = health_pb2.HealthCheckResponse


class Started:
    """A process of the echo service, and what it wrote."""

    def __init__(self, process, port):
        self.process = process
        self.address = f"127.0.0.1:{port}"
        self.lines = []
        self.children = []
        self.heard = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    async def _read(self):
        async for line in self.process.stdout:
            self.lines.append(line.decode())
            self.heard.set()

    async def said(self, event, times=1, within_s=20):
        """Wait until a line of the log says this; give the last of them."""
        async with asyncio.timeout(within_s):
            while True:
                found = [line for line in self.lines if f'"event": "{event}"' in line]
                if len(found) >= times:
                    return json.loads(found[-1])
                self.heard.clear()
                await self.heard.wait()

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    async def ended(self, within_s=15):
        await asyncio.wait_for(self.process.wait(), within_s)
        await self.reading
        return self.process.returncode

    @contextlib.asynccontextmanager
    async def calling(self, token=None, **options) -> AsyncIterator[grpc.aio.Channel]:
        bearer = [Bearer(service_token(LOCAL, "loms") if token is None else token)]
        options = {"grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1, **options}
        async with grpc.aio.insecure_channel(
            self.address, interceptors=bearer, options=list(options.items())
        ) as channel:
            yield channel


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The file of the services' public keys."""
    file = tmp_path_factory.mktemp("doors") / "service-keys.json"
    file.write_text(json.dumps({LOCAL: {"keys": [service_key(LOCAL).public().as_dict(private=False)]}}))
    return file


@pytest.fixture(scope="module")
async def database(native):
    """One database for all: nothing is written."""
    admin = await asyncpg.connect(native.admin_url)
    await admin.execute("CREATE DATABASE doors")
    url = native.admin_url.rpartition("/")[0] + "/doors"
    await migrate.apply(url, echo.MIGRATIONS)
    yield url
    await admin.execute("DROP DATABASE doors WITH (FORCE)")
    await admin.close()


@pytest.fixture(params=DOORS)
def door(request):
    return request.param


@pytest.fixture(scope="module")
async def all_started(database, keys):
    """A process with each door, for the tests that leave it as it was."""
    async with contextlib.AsyncExitStack() as opened:
        yield {door: await opened.enter_async_context(running(database, keys, door)) for door in DOORS}


@pytest.fixture
def started(all_started, door):
    return all_started[door]


@pytest.fixture
async def loms(started):
    async with started.calling() as channel:
        yield loms_pb2_grpc.LomsServiceStub(channel)


@contextlib.asynccontextmanager
async def running(database, keys, door, *, command="all", processes=1, port=0, wait=True, **settings):
    """Start it as in production, and see to it that nothing is left."""
    port = port or stack.free_ports(["door"])["door"]
    environment = os.environ | {
        "ECHO_DOOR": door, "ECHO_PROCESSES": str(processes), "ECHO_LISTEN": f"127.0.0.1:{port}",
        "ECHO_DATABASE_URL": database, "ECHO_JWKS_URL": "http://127.0.0.1:1/", "ECHO_SERVICE_KEYS_FILE": str(keys),
        "ECHO_CALL_TIMEOUT_S": "3", **settings,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kit.tests.echo", command,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    started = Started(process, port)
    try:
        if wait:
            await started.said("listening", times=processes)
            started.children = started.family()
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await started.ended()
        _, alive = await asyncio.to_thread(psutil.wait_procs, started.children, 5)
        assert [] == alive


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


@pytest.mark.parametrize(
    "bytes_", [b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 90, b"\x00" * 64]
)
async def test_bytes_that_are_no_http2_do_no_harm(started, loms, bytes_):
    """The connection is closed; others go on."""
    host, port = started.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(bytes_)
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 10)
    writer.close()
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


async def test_the_door_alone_serves_and_believes_no_stranger(database, keys, door):
    """`api` has no workers, and ends well. Where the peer is not trusted, the address is its own."""
    async with (
        running(database, keys, door, command="api", ECHO_TRUSTED_PROXIES="10.0.0.0/8") as started,
        started.calling() as channel,
    ):
        stub = loms_pb2_grpc.LomsServiceStub(channel)
        answer = await stub.ListOrder(ask(echo.ECHO), metadata=[("x-forwarded-for", "198.51.100.9")])
        assert "127.0.0.1" == json.loads(answer.reason)["address"]
        started.process.terminate()
        assert 0 == await started.ended()


async def test_calls_in_flight_survive_sigterm(database, keys, door):
    """Watchers are told NOT_SERVING, new calls UNAVAILABLE; what runs ends well; then the process, with 0."""
    async with running(database, keys, door) as started, started.calling() as channel:
        stub = loms_pb2_grpc.LomsServiceStub(channel)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert HEALTH.SERVING == (await watch.read()).status
        call = asyncio.ensure_future(stub.ListOrder(ask(echo.SLOW)))
        await started.said("working")
        started.process.terminate()
        assert HEALTH.NOT_SERVING == (await watch.read()).status
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListOrder(ask(echo.ECHO))
        assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
        assert "127.0.0.1" in (await call).reason
        watch.cancel()
        assert 0 == await started.ended()
        assert all("loms" == json.loads(line)["service"] for line in started.lines)


async def test_who_does_not_leave_is_cut_off(database, keys):
    """A conversation that stays open, a watch and a call that lasts: none of them holds up the stop for ever."""
    async with running(database, keys, "pyvoy", ECHO_CALL_TIMEOUT_S="60") as started, started.calling() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        await watch.read()
        talk = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")()
        await talk.write(reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString())
        await talk.read()
        call = asyncio.ensure_future(loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(echo.HANG)))
        await started.said("hanging")
        started.process.terminate()
        assert HEALTH.NOT_SERVING == (await watch.read()).status
        assert grpc.StatusCode.UNAVAILABLE == await talk.code()
        assert grpc.StatusCode.UNAVAILABLE == await watch.code()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
        assert 0 == await started.ended()
        assert "Exception" not in "".join(started.lines)


async def test_a_full_door_says_so_at_once(database, keys):
    """Calls beyond the limit are refused, instead of waiting behind those that run."""
    async with running(database, keys, "pyvoy", ECHO_CALL_TIMEOUT_S="60") as started, started.calling() as channel:
        stub = loms_pb2_grpc.LomsServiceStub(channel)
        calls = [stub.ListOrder(ask(echo.HANG)) for _ in range(MAX_CONCURRENT_CALLS)]
        await started.said("hanging", times=MAX_CONCURRENT_CALLS)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListOrder(ask(echo.ECHO))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == caught.value.code()
        for call in calls:
            call.cancel()


@pytest.mark.parametrize(("door", "processes"), [("pyvoy", 1), ("grpcio", 2)])
async def test_nothing_outlives_a_killed_parent(database, keys, door, processes):
    """SIGKILL of the parent ends its doors."""
    async with running(database, keys, door, processes=processes) as started:
        assert processes == len(started.children)
        started.process.kill()
        await started.ended()
        _, alive = await asyncio.to_thread(psutil.wait_procs, started.children, 5)
        assert [] == alive


@pytest.mark.parametrize(
    ("door", "processes", "end", "exit_code"),
    [
        ("pyvoy", 2, echo.DIE, 7),
        ("grpcio", 2, echo.DIE, 7),
        ("pyvoy", 2, signal.SIGKILL, -9),
        ("pyvoy", 1, signal.SIGTERM, 0),
    ],
)
async def test_a_door_that_ends_ends_its_parent(database, keys, door, processes, end, exit_code):
    """Whatever ended it: whoever started the service sees it fail, with a line that says why."""
    async with running(database, keys, door, processes=processes) as started, started.calling() as channel:
        if isinstance(end, signal.Signals):
            started.children[0].send_signal(end)
        else:
            with pytest.raises(grpc.aio.AioRpcError):
                await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(end))
        assert exit_code == (await started.said("a door ended by itself"))["exit_code"]
        assert 1 == await started.ended()


async def test_two_processes_share_a_port_and_wake_one_relay(database, keys, door):
    """Connections go to both; what either commits wakes the workers; both end when told to."""
    async with running(database, keys, door, processes=2) as started:
        seen = set()

        async def look():
            async with started.calling() as channel:
                answer = await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(echo.COMMIT))
            seen.add(json.loads(answer.reason)["pid"])
            return seen

        await look()
        assert started.process.pid == (await started.said("woken", within_s=2))["pid"]
        await until(look, {child.pid for child in started.children})
        started.process.send_signal(signal.SIGINT)
        assert 0 == await started.ended()


@pytest.mark.parametrize(("command", "processes"), [("all", 1), ("api", 2)])
async def test_a_taken_port_is_refused(database, keys, started, door, command, processes):
    """A second one says so and ends, instead of taking half of the calls."""
    port = int(started.address.rpartition(":")[2])
    async with running(database, keys, door, command=command, processes=processes, port=port, wait=False) as second:
        assert 1 == await second.ended()
        assert f"cannot listen on {started.address}: another program does" in "".join(second.lines)


async def test_it_can_be_stopped_while_it_waits_for_the_database(keys):
    """The database is away: pyvoy opens no door, and who tells it to end is obeyed."""
    async with running("postgres://x@127.0.0.1:1/none", keys, "pyvoy", command="api", wait=False) as started:
        await started.said("waiting for the database")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*started.address.split(":"))
        started.process.terminate()
        assert 0 == await started.ended()


async def test_a_service_that_fails_inside_the_door_ends_with_its_log(database, keys, tmp_path):
    """What goes wrong where pyvoy embeds Python reaches the log and the exit code."""
    file = tmp_path / "keys.json"
    file.write_text('{"local": 5}')
    async with running(database, file, "pyvoy", wait=False) as started:
        assert 1 == await started.ended()
        assert "the door failed" in "".join(started.lines)
        assert "a door ended by itself" in "".join(started.lines)


async def test_grpcio_serves_where_pyvoy_cannot(database, keys):
    """One line of the log says why."""
    async with running(database, keys, "pyvoy", PATH="/nonexistent") as started, started.calling() as channel:
        await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(echo.ECHO))
        assert "setpriv" in (await started.said("pyvoy cannot serve here, grpcio does"))["reason"]
        assert [] == started.children
