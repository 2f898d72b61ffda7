"""A call, whatever transport it came by: who asks, until when, under which id; and the way to the handler.

Only the doors (`kit.grpc_door`; `kit.asgi_door` with `kit.wire`) and `kit.client` know gRPC. A servicer's method gets
its request and a Call.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import protovalidate
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2

from abacus.access.v1 import access_pb2
from kit import errors
from kit.db import is_unavailable
from kit.tokens import Principal

log = structlog.get_logger()

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

USER_AGENT_CHARACTERS = 200
LANGUAGES_MAX = 20  # that a caller may name
RETRY_AFTER_S = 0.5  # where too many wait
FIELDS_MAX = 20  # named in an error: its details travel in a trailer, which has a limit of its own


# Ids that we make rise within a process: the index over them grows at its end, and not all over.
_ids_prefix, _ids = secrets.token_hex(8), itertools.count()


@dataclass(slots=True)
class Call:
    """One call, as its handler sees it."""

    method: str  # "abacus.loms.v1.LomsService/CreateOrder"
    answer_type: type[Any]
    principal: Principal  # whoever the policy says it is
    address: str  # from where; empty where the transport has none
    user_agent: str  # as the client names itself
    request_id: str  # given by the caller, or made here so that a batch may be run again
    has_request_id: bool  # whether the caller gave it
    languages: str  # that the caller asked for, as it named them
    deadline: float  # by the event loop's clock

    @property
    def caller(self) -> str:
        """Who calls, in one word: the scope of request ids, the actor in histories."""
        return self.principal.name

    @property
    def language(self) -> str:
        """Ours that the caller likes most (RFC 9110, 12.5.4): "en", or "ru", also where it named neither."""
        liked = {"ru": 0.0, "en": 0.0}
        for one in self.languages.lower().split(",")[:LANGUAGES_MAX]:
            tag, _, weight = one.partition(";q=")
            name = tag.strip().partition("-")[0]
            if name in liked:
                with contextlib.suppress(ValueError):
                    liked[name] = max(liked[name], float(weight or 1))
        return "en" if liked["en"] > liked["ru"] else "ru"

    def time_left_s(self) -> float:
        """Seconds until the deadline; what a hop may pass on."""
        return self.deadline - asyncio.get_running_loop().time()


# The call being served: for the clients that it makes, whose deadline is what is left of its own, and for the log.
current: ContextVar[Call | None] = ContextVar("current", default=None)

Handler = Callable[[Any, Call], Awaitable[Message]]
# Called after each call with method, code and seconds; the one place for metrics and traces.
Observer = Callable[[str, int, float], None]


def name_call(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Say in a line of the log which call it is about; a processor of structlog: calls without a line pay nothing."""
    if call := current.get():
        event.setdefault("method", call.method)
        event.setdefault("request_id", call.request_id)
    return event


def unobserved(method: str, code: int, seconds: float) -> None:
    """The observer where nothing is measured."""


def never() -> bool:
    """Whether an RPC is full that takes all that come."""
    return False


@dataclass(frozen=True)
class Method:
    """An RPC of the contract, bound to its handler."""

    full_name: str
    request_type: type[Message]
    answer_type: type[Message]
    handle: Handler
    access: access_pb2.Access
    has_request_id: bool = False
    has_language: bool = False
    is_full: Callable[[], bool] = never


def methods_of(service: ServiceDescriptor, servicer: object) -> list[Method]:
    """Bind every RPC of a service to the servicer's method of that name.

    A servicer that can be full says so by RPC in its `full`: such a call is refused before anything is spent on it.

    Raises:
        AttributeError: the servicer leaves one out.
        NoPolicyError: the contract does not say who may call one.
    """
    return [
        Method(
            full_name=f"{service.full_name}/{rpc.name}",
            request_type=message_factory.GetMessageClass(rpc.input_type),
            answer_type=message_factory.GetMessageClass(rpc.output_type),
            handle=getattr(servicer, rpc.name),
            access=access_of(rpc),
            has_request_id="request_id" in rpc.input_type.fields_by_name,
            has_language="language" in rpc.input_type.fields_by_name,
            is_full=getattr(servicer, "full", {}).get(rpc.name, never),
        )
        for rpc in service.methods
    ]


def access_of(rpc: MethodDescriptor) -> access_pb2.Access:
    """Who may call an RPC, as its contract says.

    Raises:
        NoPolicyError: it does not say, or says that everybody may and yet names others.
    """
    # protoc's own type stubs take an extension for its descriptor.
    access: access_pb2.Access = rpc.GetOptions().Extensions[access_pb2.access]  # type: ignore[index]
    if not access.ListFields():
        raise NoPolicyError(f"{rpc.full_name}: the contract does not say who may call it")
    if access.public and len(access.ListFields()) > 1:
        raise NoPolicyError(f"{rpc.full_name}: what everybody may call names nobody else")
    return access


class NoPolicyError(Exception):
    """A contract, or what serves it, leaves open who may call an RPC."""


class Policy(Protocol):
    """Who may call what: `kit.access.ByContract`."""

    async def admit(self, method: Method, metadata: Mapping[str, str]) -> Principal:
        """Say who calls, if the RPC admits that kind of caller.

        Raises:
            Error: it does not, or nobody can tell who calls.
        """

    def complete(self, method: Method, request: Message, principal: Principal) -> None:
        """Name the caller where a request may name a person, and names none."""

    async def allow(self, method: Method, request: Message, principal: Principal) -> None:
        """Look whether what a valid request names is the caller's.

        Raises:
            Error: it is not.
        """


class Dispatcher:
    """What happens to every call: policy, parse, request id, validation, owner, deadline, handler, errors, observer.

    Args:
        call_timeout_s: longest time for a call, whatever its caller allows.
        policy: who may call what.
        observe: told of every call.
        trusted_proxies: peers whose word counts for where a call comes from.
    """

    def __init__(
        self,
        *,
        call_timeout_s: float,
        policy: Policy,
        observe: Observer = unobserved,
        trusted_proxies: Sequence[Network] = (),
    ):
        self.call_timeout_s = call_timeout_s
        self.policy = policy
        self.observe = observe
        self.trusted_proxies = trusted_proxies
        self.validator = protovalidate.Validator()

    async def serve(
        self,
        method: Method,
        body: bytes,
        metadata: Mapping[str, str],
        time_left_s: float | None = None,
        peer: str = "",
    ) -> Message:
        """Serve one call.

        Args:
            method: the RPC.
            body: the request as it came.
            metadata: of the request, keys in lower case.
            time_left_s: what the caller allows; None where it set no deadline.
            peer: IP address of who sent it; empty where the transport has none.

        Raises:
            Error: what the caller is to be told; nothing else leaves.
        """
        clock = asyncio.get_running_loop().time
        started = clock()
        code, reason = code_pb2.CANCELLED, ""
        try:
            if method.is_full():
                raise overloaded()
            answer = await self._serve(method, body, metadata, time_left_s, peer)
            code = code_pb2.OK
            return answer
        except errors.Error as error:
            code, reason = error.code, error.reason
            raise
        finally:
            seconds = clock() - started
            self.observe(method.full_name, code, seconds)
            log.debug("call", method=method.full_name, code=code, reason=reason, seconds=seconds)

    async def _serve(
        self, method: Method, body: bytes, metadata: Mapping[str, str], time_left_s: float | None, peer: str
    ) -> Message:
        timeout_s = self.call_timeout_s if time_left_s is None else min(time_left_s, self.call_timeout_s)
        deadline = asyncio.get_running_loop().time() + timeout_s
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                principal = await self.policy.admit(method, metadata)
                request = _parse(method, body)
                self.policy.complete(method, request, principal)
                given = _merge_request_id(method, request, metadata)
                self._validate(request)
                await self.policy.allow(method, request, principal)
                call = Call(
                    method=method.full_name,
                    answer_type=method.answer_type,
                    principal=principal,
                    address=self._address(peer, metadata),
                    user_agent=metadata.get("user-agent", "")[:USER_AGENT_CHARACTERS],
                    request_id=given or f"{_ids_prefix}-{next(_ids):012x}",
                    has_request_id=bool(given),
                    languages=_asked_language(method, request) or metadata.get("accept-language", ""),
                    deadline=deadline,
                )
                token = current.set(call)
                try:
                    return await method.handle(request, call)
                finally:
                    current.reset(token)
        except errors.Error:
            raise
        except Exception as error:
            raise _told(method, error, too_late=limit.expired(), by_caller=timeout_s == time_left_s) from error

    def _address(self, peer: str, metadata: Mapping[str, str]) -> str:
        """Where a call comes from: the peer, or whom a trusted proxy names last (the hops before are hearsay)."""
        hop = metadata.get("x-forwarded-for", "").rpartition(",")[2].strip()
        try:
            if hop and any(ipaddress.ip_address(peer) in network for network in self.trusted_proxies):
                return str(ipaddress.ip_address(hop))
        except ValueError:
            log.warning("a proxy names no address", peer=peer)
        return peer

    def _validate(self, request: Message) -> None:
        violations = self.validator.collect_violations(request)
        if not violations:
            return
        fields = [(field_path(violation.proto.field), violation.proto.message) for violation in violations[:FIELDS_MAX]]
        name, text = fields[0]
        raise errors.Error(
            errors.INVALID_FIELD.code, errors.INVALID_FIELD.name, f"{name}: {text}" if name else text, fields=fields
        )


def overloaded() -> errors.Error:
    """What a caller is told where too many wait already."""
    return errors.OVERLOADED("too many are waiting, try again", retry_after_s=RETRY_AFTER_S)


def _parse(method: Method, body: bytes) -> Message:
    try:
        return method.request_type.FromString(body)
    except DecodeError:
        raise errors.MALFORMED_REQUEST("the request is not the message that this method takes") from None


def _merge_request_id(method: Method, request: Any, metadata: Mapping[str, str]) -> str:
    """The id that the caller gave, in the message or as metadata; written into the message, where its rules are."""
    header = metadata.get("idempotency-key", "")
    if not method.has_request_id:
        return ""
    if header and request.request_id and header != request.request_id:
        raise errors.REQUEST_ID_CONFLICT(
            "request_id and the idempotency-key metadata are not the same", field="request_id"
        )
    if header:
        request.request_id = header
    return str(request.request_id)


def _asked_language(method: Method, request: Any) -> str:
    return str(request.language) if method.has_language else ""


def field_path(path_of_violation: Any) -> str:
    """`items[1].count` from the path of a protovalidate violation; empty where it is the whole message's."""
    path = ""
    for element in path_of_violation.elements if path_of_violation else ():
        path += ("." if path else "") + element.field_name
        subscript = element.subscript
        if subscript is not None:
            # A map's key is the caller's, and may be of any length: errors travel in a trailer, which may not.
            path += "[]" if isinstance(subscript.value, str) else f"[{subscript.value}]"
    return path


def _told(method: Method, error: Exception, *, too_late: bool, by_caller: bool) -> errors.Error:
    """What a caller is told of a failure that no code named; its own text stays in the log."""
    if isinstance(error, TimeoutError) and too_late and by_caller:
        return errors.DEADLINE_EXCEEDED("the call's deadline passed")
    if isinstance(error, TimeoutError) and too_late:
        log.warning("call took too long", method=method.full_name)
        return errors.TIMEOUT("this took too long, try again", retry_after_s=1)
    if is_unavailable(error):
        log.warning("database unavailable", method=method.full_name, error=repr(error))
        return errors.DATABASE_UNAVAILABLE("the database does not answer, try again", retry_after_s=1)
    log.exception("call failed", method=method.full_name, exc_info=error)
    return errors.INTERNAL("an error on our side, it is in our log")
