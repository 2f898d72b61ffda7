"""Both doors as real processes: how they start, share a port, drain, and die."""

import asyncio
import json
import signal
import socket

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from kit import doors
from kit.errors import from_status
from kit.grpc_door import MAX_CONCURRENT_CALLS
from kit.testing import refused, until
from kit.tests import echo

HEALTH = health_pb2.HealthCheckResponse


def ask(order_id):
    return loms_pb2.ListOrderRequest(order_id=order_id)


async def test_the_door_alone_serves_and_believes_no_stranger(running, door):
    """`api` has no workers, and ends well. Where the peer is not trusted, the address is its own."""
    async with (
        running(door, command="api", ECHO_TRUSTED_PROXIES="10.0.0.0/8") as started,
        started.calling() as channel,
    ):
        stub = loms_pb2_grpc.LomsServiceStub(channel)
        answer = await stub.ListOrder(ask(echo.ECHO), metadata=[("x-forwarded-for", "198.51.100.9")])
        assert "127.0.0.1" == json.loads(answer.reason)["address"]
        started.process.terminate()
        assert 0 == await started.ended()


async def test_calls_in_flight_survive_sigterm(running, door):
    """Watchers hear NOT_SERVING, new calls UNAVAILABLE, also of a full method; what runs ends; then all, with 0."""
    async with running(door) as started, started.calling() as channel:
        stub = loms_pb2_grpc.LomsServiceStub(channel)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert HEALTH.SERVING == (await watch.read()).status
        call = asyncio.ensure_future(stub.ListOrder(ask(echo.SLOW)))
        await started.said("working")
        started.process.terminate()
        assert HEALTH.NOT_SERVING == (await watch.read()).status
        for refused_call in (stub.ListOrder(ask(echo.ECHO)), stub.OrderPayed(loms_pb2.OrderPayedRequest(order_id=1))):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await refused_call
            assert grpc.StatusCode.UNAVAILABLE == caught.value.code()
        assert "127.0.0.1" in (await call).reason
        watch.cancel()
        assert 0 == await started.ended()
        assert all("loms" == json.loads(line)["service"] for line in started.lines)


async def test_who_does_not_leave_is_cut_off(running):
    """A conversation that stays open, a watch and a call that lasts: none of them holds up the stop for ever."""
    async with running("pyvoy", ECHO_CALL_TIMEOUT_S="60") as started, started.calling() as channel:
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


async def test_a_full_door_says_so_at_once(running):
    """Calls beyond the limit are refused, instead of waiting behind those that run."""
    async with running("pyvoy", ECHO_CALL_TIMEOUT_S="60") as started, started.calling() as channel:
        stub = loms_pb2_grpc.LomsServiceStub(channel)
        calls = [stub.ListOrder(ask(echo.HANG)) for _ in range(MAX_CONCURRENT_CALLS)]
        await started.said("hanging", times=MAX_CONCURRENT_CALLS)
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") as told:
            await stub.ListOrder(ask(echo.ECHO))
        assert 0.5 == told.retry_after_s
        for call in calls:
            call.cancel()


async def test_a_method_that_stays_full_is_turned_away_before_python(running):
    """Most callers by Envoy, all in the same words; its neighbour is served as ever."""
    async with running("pyvoy") as started, started.calling() as channel:
        stub = loms_pb2_grpc.LomsServiceStub(channel)

        async def pay():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.OrderPayed(loms_pb2.OrderPayedRequest(order_id=1))
            return caught.value

        errors = [error for _ in range(20) for error in await asyncio.gather(*(pay() for _ in range(50)))]
        told = [(error.code(), from_status(rpc_status.from_call(error))) for error in errors]
        assert {(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", 0.5)} == {
            (code, error.reason, error.retry_after_s) for code, error in told
        }
        answers = await asyncio.gather(*(stub.ListOrder(ask(echo.ECHO)) for _ in range(50)))
        assert json.loads(answers[-1].reason)["refused"] < 3 / 4 * len(errors)


@pytest.mark.parametrize(("door", "processes"), [("pyvoy", 1), ("grpcio", 2)])
async def test_nothing_outlives_a_killed_parent(running, door, processes):
    """SIGKILL of the parent ends its doors."""
    async with running(door, processes=processes) as started:
        assert processes == len(started.children)
        started.process.kill()
        await started.ended()
        await until(started.alive, [], within_s=5)


@pytest.mark.parametrize(
    ("door", "processes", "end", "exit_code"),
    [
        ("pyvoy", 2, echo.DIE, 7),
        ("grpcio", 2, echo.DIE, 7),
        ("pyvoy", 2, signal.SIGKILL, -9),
        ("pyvoy", 1, signal.SIGTERM, 0),
    ],
)
async def test_a_door_that_ends_ends_its_parent(running, door, processes, end, exit_code):
    """Whatever ended it: whoever started the service sees it fail, with a line that says why."""
    async with running(door, processes=processes) as started, started.calling() as channel:
        if isinstance(end, signal.Signals):
            started.children[0].send_signal(end)
        else:
            with pytest.raises(grpc.aio.AioRpcError):
                await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(end))
        assert exit_code == (await started.said("a door ended by itself"))["exit_code"]
        assert 1 == await started.ended()


async def test_two_processes_share_a_port_and_wake_one_relay(running, door):
    """Connections go to both; what either commits wakes the workers; both end when told to."""
    async with running(door, processes=2) as started:
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
async def test_a_taken_port_is_refused(running, started, door, command, processes):
    """A second one says so and ends, instead of taking half of the calls."""
    port = int(started.address.rpartition(":")[2])
    async with running(door, command=command, processes=processes, port=port, wait=False) as second:
        assert 1 == await second.ended()
        assert f"cannot listen on {started.address}: another program does" in "".join(second.lines)


async def test_it_can_be_stopped_while_it_waits_for_the_database(running):
    """The database is away: pyvoy opens no door, and who tells it to end is obeyed."""
    async with running(
        "pyvoy", command="api", wait=False, ECHO_DATABASE_URL="postgres://x@127.0.0.1:1/none"
    ) as started:
        await started.said("waiting for the database")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*started.address.split(":"))
        started.process.terminate()
        assert 0 == await started.ended()


async def test_a_service_that_fails_inside_the_door_ends_with_its_log(running, tmp_path):
    """What goes wrong where pyvoy embeds Python reaches the log and the exit code."""
    file = tmp_path / "keys.json"
    file.write_text('{"local": 5}')
    async with running("pyvoy", wait=False, ECHO_SERVICE_KEYS_FILE=str(file)) as started:
        assert 1 == await started.ended()
        assert "the door failed" in "".join(started.lines)
        assert "a door ended by itself" in "".join(started.lines)


async def test_grpcio_serves_where_pyvoy_cannot(running):
    """One line of the log says why."""
    async with running("pyvoy", PATH="/nonexistent") as started, started.calling() as channel:
        await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(echo.ECHO))
        assert "setpriv" in (await started.said("pyvoy cannot serve here, grpcio does"))["reason"]
        assert [] == started.children


async def test_doors_of_their_own_need_setpriv(running):
    """Where it is missing, one line says so, and the service ends."""
    async with running("grpcio", processes=2, wait=False, PATH="/nonexistent") as started:
        assert 1 == await started.ended()
        assert [
            "cannot serve in processes of their own: setpriv is missing, of the package util-linux\n"
        ] == started.lines


async def test_a_name_that_does_not_resolve_is_refused(running, door):
    """By a line of its own."""
    async with running(door, host="nowhere.invalid", wait=False) as started:
        assert 1 == await started.ended()
        assert "cannot listen on nowhere.invalid:" in started.lines[-1]
        assert "its name does not resolve" in started.lines[-1]


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("127.0.0.1", socket.AF_INET),
        ("localhost", socket.AF_INET),
        ("[::1]", socket.AF_INET6),
        ("[::]", socket.AF_INET6),
    ],
)
def test_a_held_port_is_of_its_address_family(host, family):
    """Where a name has addresses of both, of IPv4."""
    with doors.hold(f"{host}:0") as held:
        assert family == held.family


@pytest.mark.parametrize(("host", "seen"), [("[::1]", "::1"), ("[::]", "127.0.0.1")])
async def test_doors_of_their_own_listen_on_ipv6(running, door, host, seen):
    """On one address, and on all, which are those of IPv4 too."""
    async with running(door, command="api", processes=2, host=host) as started:
        if host == "[::]":
            started.address = started.address.replace(host, "127.0.0.1")
        async with started.calling() as channel:
            answer = await loms_pb2_grpc.LomsServiceStub(channel).ListOrder(ask(echo.ECHO))
        assert seen == json.loads(answer.reason)["address"]
