"""The gRPC door as an ASGI application: for pyvoy, which is Envoy with Python embedded.

HTTP/2 with its limits is Envoy's; calls, their ends and the graceful stop are here, gRPC's own frames in kit.wire.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from kit import errors, wire
from kit.calls import Dispatcher, Method, methods_of, overloaded
from kit.grpc_door import GRACE_S, MAX_CONCURRENT_CALLS, MAX_MESSAGE_BYTES, REFLECTION, Symbols
from kit.wire import GoneError, Messages, Receive, RefusedError

log = structlog.get_logger()

# Calls that last are asked so often whether their clients are still there: pyvoy tells it only to those who ask.
LOOK_EVERY_S = 0.25
CUT_OFF_WITHIN_S = 1.0

Send = Callable[[dict[str, Any]], Awaitable[None]]
Serve = Callable[["_Stream"], Awaitable[None]]

_START = {"type": "http.response.start", "status": 200, "headers": wire.HEADERS, "trailers": True}
_END = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}
_EMPTY = {"type": "http.response.body"}

# Made once: it is said most when there is most to do.
_OVERLOADED = {"type": "http.response.start", "status": 200, "headers": wire.HEADERS + wire.status(overloaded())}

_STOPPING = RefusedError(code_pb2.UNAVAILABLE, "the server is stopping")
_LATE = RefusedError(code_pb2.DEADLINE_EXCEEDED, "the request did not come in time")
_BROKEN = RefusedError(code_pb2.INTERNAL, "an error on our side, it is in our log")


class Door:
    """What `kit.grpc_door.Door` is, for an ASGI server: health, reflection, graceful stop; the dispatcher serves."""

    def __init__(self, dispatcher: Dispatcher, services: list[tuple[ServiceDescriptor, object]]):
        self.dispatcher = dispatcher
        self.health = health.aio.HealthServicer()
        self.names = [descriptor.full_name for descriptor, _ in services]
        self._methods = {f"/{method.full_name}": method for service in services for method in methods_of(*service)}
        self._serve: dict[str, Serve] = {
            f"/{health.SERVICE_NAME}/Check": functools.partial(_one, self.health.Check),
            f"/{health.SERVICE_NAME}/Watch": functools.partial(_one, self.health.Watch),
        }
        described = reflection.aio.ReflectionServicer([*self.names, health.SERVICE_NAME, *REFLECTION], Symbols())
        for name in REFLECTION:
            self._serve[f"/{name}/ServerReflectionInfo"] = functools.partial(_describe, described)
        # Calls that run, the oldest first: since when, whom to ask for the client (None until it has said all).
        self._calls: dict[asyncio.Task[None], tuple[float, Receive | None, Send]] = {}
        self._streams: dict[asyncio.Task[None], _Stream] = {}
        self._closing = False
        self._idle = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Say SERVING; the server that calls has the port."""
        for name in ("", *self.names):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._looking = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        """Say NOT_SERVING, refuse new calls, let the running ones end; then cut off what is left."""
        self._closing = True
        await self.health.enter_graceful_shutdown()
        if self._calls:
            await _bounded(self._idle.wait(), GRACE_S)
        # Those that wait for their clients' words end by our answer: pyvoy fails at a `receive` that was cancelled.
        for task, (_, receive, send) in list(self._calls.items()):
            if receive is None:
                await _refuse(send, _STOPPING)
            else:
                task.cancel()
        for task, stream in list(self._streams.items()):
            await stream.end(_STOPPING)
            if stream.messages.ended:
                task.cancel()
        if left := {*self._calls, *self._streams}:
            await asyncio.wait(left, timeout=CUT_OFF_WITHIN_S)
        if self._looking:
            self._looking.cancel()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serve one call: the application that ASGI asks for, without its lifespan."""
        method = self._methods.get(scope["path"])
        if method and method.is_full() and scope["method"] == "POST" and not self._closing:
            self.dispatcher.observe(method.full_name, code_pb2.RESOURCE_EXHAUSTED, 0.0)
            await _only(send, _OVERLOADED)
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1")
            for key, value in scope["headers"]
            if not key.endswith(b"-bin")  # nothing of ours travels so
        }
        kind = headers.get("content-type", "")
        if scope["method"] != "POST" or (kind != "application/grpc" and not kind.startswith("application/grpc+")):
            await _refuse_http(send, 415 if scope["method"] == "POST" else 405)
        elif self._closing:
            await _refuse(send, _STOPPING)
            await _gone(receive)
        elif len(self._calls) + len(self._streams) >= MAX_CONCURRENT_CALLS:
            await _only(send, _OVERLOADED)
        elif method:
            await self._unary(method, headers, scope["client"], receive, send)
        elif serve := self._serve.get(scope["path"]):
            await self._stream(serve, headers, receive, send)
        else:
            await _refuse(send, RefusedError(code_pb2.UNIMPLEMENTED, "there is no such method"))

    async def _unary(
        self, method: Method, headers: dict[str, str], peer: tuple[str, int] | None, receive: Receive, send: Send
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        since = task.get_loop().time()
        self._calls[task] = (since, None, send)
        try:
            event = await receive()
            chunk = event.get("body", b"")
            size = len(chunk) - wire.PREFIX.size
            body: bytes | None
            if 0 <= size <= MAX_MESSAGE_BYTES and wire.PREFIX.unpack_from(chunk) == (0, size):
                body = chunk[wire.PREFIX.size :]
            else:
                body = await Messages(receive, headers, event).next()
            if body is None:
                raise RefusedError(code_pb2.INTERNAL, "the call has no message")
            self._calls[task] = (since, receive, send)
            if (time_left_s := wire.timeout_s(headers)) is not None:
                time_left_s -= task.get_loop().time() - since
                if time_left_s <= 0:
                    raise _LATE
            answer = await self.dispatcher.serve(method, body, headers, time_left_s, peer[0] if peer else "")
            data = answer.SerializeToString()
            await send(_START)
            await send({"type": "http.response.body", "body": wire.frame(data)})
            await send(_END)
        except (errors.Error, RefusedError) as error:
            await _refuse(send, error)
        except asyncio.CancelledError:
            await _refuse(send, _STOPPING)  # by this door: the client is gone, and nobody hears this, or time is up
        except (GoneError, OSError):
            pass  # nobody listens any more
        except Exception:
            log.exception("call failed", method=method.full_name)
            await _refuse(send, _BROKEN)
        finally:
            if self._closing:
                await _gone(receive)
            del self._calls[task]
            if self._closing and not self._calls:
                self._idle.set()

    async def _stream(self, serve: Serve, headers: dict[str, str], receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        stream = self._streams[task] = _Stream(Messages(receive, headers), send)
        try:
            async with asyncio.timeout(wire.timeout_s(headers)):
                await serve(stream)
            await stream.end()
        except RefusedError as error:
            await stream.end(error)
        except TimeoutError:
            await stream.end(RefusedError(code_pb2.DEADLINE_EXCEEDED, "the call's deadline passed"))
        except (GoneError, OSError, asyncio.CancelledError):
            pass  # nobody listens any more
        except Exception:
            log.exception("call failed")
            await stream.end(_BROKEN)
        finally:
            if self._closing:
                await _gone(receive)
            del self._streams[task]

    async def _look_after(self) -> None:
        """Cancel calls whose clients are gone, refuse those that do not come."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = clock()
            for task, (since, receive, send) in list(self._calls.items()):
                if since > now - LOOK_EVERY_S:
                    break
                with _going_on():
                    if receive:
                        _look(receive, task)
                    elif since < now - self.dispatcher.call_timeout_s:
                        await _refuse(send, _LATE)
            for task, stream in list(self._streams.items()):
                with _going_on():
                    if stream.messages.ended:
                        _look(stream.messages.receive, task)


class _Stream:
    """A call of many messages: as much of grpc.aio's context as the servicers of health and reflection use."""

    def __init__(self, messages: Messages, send: Send):
        self.messages = messages
        self._send = send
        self._started = False
        self._ended = False

    async def write(self, message: Message) -> None:
        """Send one message."""
        if self._ended:
            raise GoneError
        if not self._started:
            self._started = True
            await self._send(_START)
        body = wire.frame(message.SerializeToString())
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        """End the call with an error."""
        raise RefusedError(code.value[0], details)

    async def end(self, error: RefusedError | None = None) -> None:
        """Send the status, unless it was."""
        if self._ended:
            return
        self._ended = True
        if error and not self._started:
            await _refuse(self._send, error)
            return
        if not self._started:
            await self._send(_START)
        await self._send(_EMPTY)
        await self._send({"type": "http.response.trailers", "headers": wire.status(error)} if error else _END)


async def _one(handle: Callable[[Any, Any], Awaitable[Any]], stream: _Stream) -> None:
    """Serve health: `Check` returns its answer, `Watch` writes them."""
    answer = await handle(_parse(health_pb2.HealthCheckRequest, await stream.messages.next() or b""), stream)
    if answer is not None:
        await stream.write(answer)


async def _describe(servicer: reflection.aio.ReflectionServicer, stream: _Stream) -> None:
    async def requests() -> AsyncIterator[Message]:
        while (message := await stream.messages.next()) is not None:
            yield _parse(reflection_pb2.ServerReflectionRequest, message)

    async for answer in servicer.ServerReflectionInfo(requests(), stream):
        await stream.write(answer)


def _parse(kind: type[Message], body: bytes) -> Message:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise RefusedError(code_pb2.INTERNAL, "the request is not the message that this method takes") from None


async def _refuse(send: Send, error: RefusedError | errors.Error) -> None:
    """Send an error in place of an answer: trailers alone, so that the client may try again."""
    await _only(send, {"type": "http.response.start", "status": 200, "headers": wire.HEADERS + wire.status(error)})


async def _only(send: Send, start: dict[str, Any]) -> None:
    try:
        await send(start)
        await send(_EMPTY)
    except (OSError, RuntimeError) as failure:  # the client is gone, or the call is answered already
        log.debug("nobody to tell", error=repr(failure))


async def _refuse_http(send: Send, status: int) -> None:
    headers = [(b"allow", b"POST")] if status == 405 else [(b"accept-post", b"application/grpc")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send(_EMPTY)


@contextlib.contextmanager
def _going_on() -> Iterator[None]:
    """Whatever goes wrong with one call, others are still looked after."""
    try:
        yield
    except Exception:
        log.exception("a call could not be looked after")


def _look(receive: Receive, task: asyncio.Task[None]) -> None:
    """Cancel a call if its client is gone."""

    def seen(event: asyncio.Future[dict[str, Any]]) -> None:
        if not event.cancelled() and event.result()["type"] == "http.disconnect":
            task.cancel()

    asyncio.ensure_future(receive()).add_done_callback(seen)


async def _gone(receive: Receive) -> None:
    """Wait until the server has sent an answer: the process is about to end."""

    async def done() -> None:
        while (await receive())["type"] != "http.disconnect":  # noqa: ASYNC110  # it tells only who asks
            await asyncio.sleep(0.005)

    await _bounded(done(), CUT_OFF_WITHIN_S)


async def _bounded(waiting: Awaitable[Any], seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        log.warning("cut off at the stop")
