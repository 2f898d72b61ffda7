"""Who may call an RPC, as its contract says (api/proto/abacus/access/v1): the policy of every door."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from abacus.access.v1 import access_pb2
from kit.calls import FIELDS_MAX, Method, NoPolicyError, access_of
from kit.errors import FOR_SERVICES_ONLY, NOT_ALLOWED, NOT_YOURSELF, TOKEN_INVALID, TOKEN_MISSING, Error
from kit.tokens import ANONYMOUS, Principal, Verifier

PERSON_FIELD = "user"  # names a person; every other owner's field names an object
ADMIN = "admin"


@dataclass(frozen=True)
class Owned:
    """What a field of a request names: whose it is, and what is said of one that does not exist.

    Who asks for another's is told the same.
    """

    owner_of: Callable[[Any], Awaitable[int | None]]  # the user's id; None: there is no such object
    missing: Callable[[Any], Error]


class ByContract:
    """Admits those whom the contract of each RPC names.

    Args:
        services: contracts, and who fulfils them. What their `owner` policies look up, a servicer has as `owned`: by
            field of requests.
        verifier: knows whose a token is.

    Raises:
        NoPolicyError: an RPC names no policy, or looks at an owner that nobody can look up.
    """

    def __init__(self, services: Sequence[tuple[ServiceDescriptor, object]], verifier: Verifier):
        self.verifier = verifier
        self.owned: dict[str, Owned] = {}
        for _, servicer in services:
            self.owned |= getattr(servicer, "owned", {})
        self._guarded: set[str] = set()  # messages with fields for services only
        for rpc in (rpc for service, _ in services for rpc in service.methods):
            field = access_of(rpc).owner
            if field and field not in rpc.input_type.fields_by_name:
                raise NoPolicyError(f"{rpc.full_name}: its request has no field {field}")
            if field and field != PERSON_FIELD and field not in self.owned:
                raise NoPolicyError(f"{rpc.full_name}: nobody can look up the owner of {field}")
            if has_guarded(rpc.input_type):
                self._guarded.add(rpc.input_type.full_name)

    async def admit(self, method: Method, metadata: Mapping[str, str]) -> Principal:
        """Say who calls, if the RPC admits that kind of caller.

        Raises:
            Error: TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED, NOT_ALLOWED; PEER_UNAVAILABLE where identity's keys are
                not known yet and it does not answer.
        """
        access = method.access
        if access.public:
            return ANONYMOUS
        principal = await self.verifier.principal(_bearer(metadata))
        if principal.is_service:
            admitted = principal.name in access.services
        else:
            admitted = access.user or bool(access.owner) or _as_admin(access, principal)
        if not admitted:
            raise NOT_ALLOWED("this caller may not do that")
        return principal

    def complete(self, method: Method, request: Any, principal: Principal) -> None:
        """Name the caller where a person may name himself, and names nobody."""
        if method.access.owner == PERSON_FIELD and principal.user and not _as_admin(method.access, principal):
            request.user = request.user or principal.user

    async def allow(self, method: Method, request: Any, principal: Principal) -> None:
        """Look whether what a valid request names is the person's.

        Raises:
            Error: NOT_YOURSELF, FOR_SERVICES_ONLY; of an object, what is said of one that does not exist.
        """
        if principal.is_service:
            return
        if method.request_type.DESCRIPTOR.full_name in self._guarded:
            _refuse_guarded(request)
        field = method.access.owner
        if not field or method.access.user or _as_admin(method.access, principal):
            return
        named = getattr(request, field)
        if field == PERSON_FIELD:
            if named != principal.user:
                raise NOT_YOURSELF(f"{field} names another person", field=field)
            return
        owned = self.owned[field]
        if await owned.owner_of(named) != principal.user:
            raise owned.missing(named)


def _as_admin(access: access_pb2.Access, principal: Principal) -> bool:
    return access.admin and ADMIN in principal.roles


def _bearer(metadata: Mapping[str, str]) -> str:
    header = metadata.get("authorization", "")
    if not header:
        raise TOKEN_MISSING("give a token: authorization: Bearer …")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise TOKEN_INVALID("the authorization header holds no bearer token")
    return token.strip()


def is_guarded(field: FieldDescriptor) -> bool:
    """Whether services alone may set a field."""
    return bool(field.GetOptions().Extensions[access_pb2.services_only])  # type: ignore[index]  # see access_of


def has_guarded(message: Descriptor) -> bool:
    """Whether a message, or one in it, has a field that services alone may set."""
    return any(is_guarded(field) for one in messages_in([message]) for field in one.fields)


def messages_in(roots: Iterable[Descriptor]) -> Iterable[Descriptor]:
    """These messages and all that stand in them, each once."""
    found: dict[str, Descriptor] = {}

    def add(message: Descriptor) -> None:
        if message.full_name not in found:
            found[message.full_name] = message
            for field in message.fields:
                if field.message_type is not None:
                    add(field.message_type)

    for root in roots:
        add(root)
    return found.values()


def _refuse_guarded(request: Message) -> None:
    paths = list(_guarded_paths(request, ""))[:FIELDS_MAX]
    if paths:
        error = FOR_SERVICES_ONLY(f"{paths[0]}: services alone may set it")
        error.fields = [(path, "services alone may set it") for path in paths]
        raise error


def _guarded_paths(message: Message, prefix: str) -> Iterator[str]:
    """`items[0].price` for each field that is set and is for services only."""
    for field, value in message.ListFields():
        path = prefix + field.name
        if is_guarded(field):
            yield path
        elif field.message_type is not None:
            for place, part in _parts(field, value):
                if isinstance(part, Message):
                    yield from _guarded_paths(part, f"{path}{place}.")


def _parts(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, Any]]:
    """What a field of messages holds, and where in it."""
    if not field.is_repeated:
        yield "", value
    elif isinstance(value, Mapping):
        yield from (("[]", part) for part in value.values())  # not named: a key may be of any length
    else:
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
