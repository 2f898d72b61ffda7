"""What the contracts say, as the documents made of them need it: comments, routes, errors, who may call.

It is read from what protoc hands to a plugin; the options' own definitions come from the generated code.
"""

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from types import ModuleType
from typing import Any

from google.api import annotations_pb2  # noqa: F401  # known to the pool, so that routes can be read
from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import code_pb2

import kit.errors
from abacus.access.v1 import access_pb2
from abacus.topics.v1 import topics_pb2
from buf.validate import validate_pb2
from deploy import contracts
from deploy.contracts import Binding
from deploy.gateway.replies import REPLIES
from kit.access import PERSON_FIELD, has_guarded
from kit.calls import access_of
from kit.client import service_of
from kit.errors import Reason

# Envoy's mapping of gRPC codes, as its transcoder has it.
HTTP = {
    code_pb2.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    code_pb2.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    code_pb2.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    code_pb2.NOT_FOUND: HTTPStatus.NOT_FOUND,
    code_pb2.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    code_pb2.ABORTED: HTTPStatus.CONFLICT,
    code_pb2.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    code_pb2.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    code_pb2.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    code_pb2.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    code_pb2.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}
GATEWAY = "gateway"
LOCAL = "local"  # the only service that comes through the gateway
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5  # numbers of FileDescriptorProto's fields: the first half of a comment's path
_METHOD, _FIELD, _NESTED, _VALUE = 2, 2, 3, 2  # second halves


class ContractError(Exception):
    """A contract says something that the documents cannot tell truly."""


@dataclass(frozen=True)
class Failure:
    """An error as one of its causes tells it."""

    reason: str
    code: int
    http: int
    of: str  # "kit", "gateway" or a service
    means: str


@dataclass
class Contracts:
    """All contracts of one run of protoc.

    Args:
        pool: knows every type.
        files: those that documents are made of, in protoc's order.
        comments: by full name of what they stand above.
        problems: what stands in the contracts and is not true; found while the documents are made.
    """

    pool: DescriptorPool
    files: list[str]
    comments: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, request: plugin_pb2.CodeGeneratorRequest) -> "Contracts":
        """Read what protoc hands over."""
        pool = DescriptorPool()
        found = cls(pool, list(request.file_to_generate))
        for file in request.proto_file:  # each after those that it imports
            pool.Add(file)
            found.comments |= _comments(file)
        return found

    @cached_property
    def services(self) -> list[ServiceDescriptor]:
        """All services, in order of their names."""
        found = [one for file in self.files for one in self.pool.FindFileByName(file).services_by_name.values()]
        return sorted(found, key=lambda service: service.full_name)

    @cached_property
    def bindings(self) -> list[Binding]:
        """All REST routes, in the order of the contracts."""
        return [binding for service in self.services for binding in contracts.bindings(service)]

    @cached_property
    def topics(self) -> list[tuple[topics_pb2.Topic, Descriptor]]:
        """All topics with what they carry, in order of their names."""
        messages = [one for file in self.files for one in self.pool.FindFileByName(file).message_types_by_name.values()]
        found = [(option(one, topics_pb2.topic), one) for one in messages]
        return sorted(((topic, one) for topic, one in found if topic.name), key=lambda pair: pair[0].name)

    @cached_property
    def filled_in(self) -> set[str]:
        """Full names of the fields that the service fills in with the caller where they are zero: see kit.access."""
        rpcs = [rpc for service in self.services for rpc in service.methods]
        return {f"{rpc.input_type.full_name}.{PERSON_FIELD}" for rpc in rpcs if access_of(rpc).owner == PERSON_FIELD}

    def comment(self, of: Any) -> str:
        """What stands above a service, RPC, message, field or value of an enum; without the sentence of its errors."""
        return re.sub(r"\s*Errors(?: of every call)?: [^.]*\.", "", self.comments.get(of.full_name, "")).strip()

    def named(self, rpc: MethodDescriptor) -> list[str]:
        """The errors of its own that an RPC's comment names, and those that its service's names for every call."""
        every = re.search(r"Errors of every call: ([^.]*)\.", self.comments.get(rpc.containing_service.full_name, ""))
        own = re.search(r"Errors: ([^.]*)\.", self.comments.get(rpc.full_name, ""))
        return [reason for said in (every, own) if said for reason in re.findall(r"[A-Z]+(?:_[A-Z]+)+", said[1])]

    def failures(self, rpc: MethodDescriptor) -> list[Failure]:
        """The errors that an RPC names, as its service means them; it is a problem where nobody defines one."""
        owner = service_of(rpc.containing_service.full_name)
        found = []
        for name in self.named(rpc):
            failure = reasons_of(owner).get(name) or reasons_of("kit").get(name)
            if failure is None:
                self.note(f"{rpc.full_name} names {name}, which services/{owner}/errors.py does not have")
            else:
                found.append(failure)
        return found

    def note(self, problem: str) -> None:
        """Remember a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)


def reasons_of(owner: str) -> dict[str, Failure]:
    """The errors of a service, of "kit" or of "gateway", by reason."""
    if owner == GATEWAY:
        return {failure.reason: failure for failure in reversed(at_the_gateway())}
    module = _errors_of(owner)
    rows = [value for value in vars(module).values() if isinstance(value, Reason)] if module else []
    return {row.name: Failure(row.name, row.code, HTTP[row.code].value, owner, row.means) for row in rows}


def at_the_gateway() -> list[Failure]:
    """The errors that the gateway alone answers, one for each HTTP status that a reason may have."""
    kits = reasons_of("kit")
    return [
        Failure(reply.reason, reply.code, reply.http.value, GATEWAY, reply.message)
        for reply in REPLIES
        if reply.reason not in kits
    ]


def _errors_of(owner: str) -> ModuleType | None:
    if owner == "kit":
        return kit.errors
    try:
        return importlib.import_module(f"{owner}.errors")
    except ModuleNotFoundError as error:
        if error.name not in (owner, f"{owner}.errors"):
            raise
        return None  # a service without errors of its own


def at_the_door(binding: Binding) -> list[Failure]:
    """The errors that a route may answer whatever its RPC says: those of the gateway and of kit."""
    rpc = binding.rpc
    access = access_of(rpc)
    names = ["MALFORMED_REQUEST"]
    if rpc.input_type.fields:
        names.append("INVALID_FIELD")
    if "request_id" in rpc.input_type.fields_by_name:
        names += ["REQUEST_ID_CONFLICT", "REQUEST_ID_REUSED"]
    if not access.public:
        names += ["TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED"]
        if not (access.user or access.owner) or LOCAL not in access.services:
            names.append("NOT_ALLOWED")
        if access.owner == PERSON_FIELD:
            names.append("NOT_YOURSELF")
        if has_guarded(rpc.input_type):
            names.append("FOR_SERVICES_ONLY")
    if not binding.is_literal:
        names.append("ROUTE_NOT_FOUND")
    if binding.body:
        names += ["MEDIA_TYPE_UNSUPPORTED", "REQUEST_TIMEOUT"]
    names += ["REQUEST_TOO_LARGE", "TOO_MANY_REQUESTS", "OVERLOADED"]
    names += ["INTERNAL", "DATABASE_UNAVAILABLE", "PEER_UNAVAILABLE", "TIMEOUT", "DEADLINE_EXCEEDED"]
    known = [*reasons_of("kit").values(), *at_the_gateway()]
    return [failure for name in names for failure in known if failure.reason == name]


def option(of: Any, extension: Any) -> Any:
    """What an option of ours says of a field or a message; empty where it says nothing."""
    # Untyped: protoc's own type stubs take an extension for its descriptor.
    return of.GetOptions().Extensions[extension]


def field_rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """The rules of buf.validate for a field."""
    rules: validate_pb2.FieldRules = option(field, validate_pb2.field)
    return rules


def message_rules(message: Descriptor) -> validate_pb2.MessageRules:
    """The rules of buf.validate for a message as a whole."""
    rules: validate_pb2.MessageRules = option(message, validate_pb2.message)
    return rules


def who(access: access_pb2.Access) -> str:
    """Say in words whom an RPC admits."""
    if access.public:
        return "everybody; no token is needed"
    owner = {"": "", "user": "the person whom `user` names"}.get(
        access.owner, f"the person to whom belongs what `{camel(access.owner)}` names"
    )
    words = [access.user and "every person who is signed in", owner, access.admin and "administrators"]
    persons = [word for word in words if word]
    services = [f"the service `{name}`" for name in access.services]
    alone = "" if persons else "no person, services alone: "
    return alone + ", ".join(persons + services)


def camel(name: str) -> str:
    """`page_size` as JSON spells it, `pageSize`."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def for_json(text: str) -> str:
    """A comment for readers of JSON: fields in backticks as JSON spells them."""
    return re.sub(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`", lambda found: f"`{camel(found[1])}`", text)


def first_sentence(text: str) -> str:
    """What comes before the first full stop."""
    return re.split(r"\.(?=\s|$)", text, maxsplit=1)[0].replace("\n", " ")


def group(failures: Iterable[Failure]) -> dict[int, list[Failure]]:
    """Errors by HTTP status, each reason once; the first one counts."""
    found: dict[int, dict[str, Failure]] = {}
    for failure in failures:
        found.setdefault(failure.http, {}).setdefault(failure.reason, failure)
    return {status: list(found[status].values()) for status in sorted(found)}


def _comments(file: FileDescriptorProto) -> dict[str, str]:
    """Comments by full name of what they stand above, one line a paragraph."""
    by_path = {tuple(place.path): place.leading_comments for place in file.source_code_info.location}
    found: dict[str, str] = {}

    def note(name: str, path: tuple[int, ...]) -> None:
        # A line that speaks to a tool is none of ours.
        lines = [line.strip() for line in by_path.get(path, "").splitlines() if not line.strip().startswith("buf:")]
        if text := re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(lines)).strip():
            found[name] = text

    def message(one: Any, name: str, path: tuple[int, ...]) -> None:
        note(name, path)
        for number, each in enumerate(one.field):
            note(f"{name}.{each.name}", (*path, _FIELD, number))
        for number, nested in enumerate(one.nested_type):
            message(nested, f"{name}.{nested.name}", (*path, _NESTED, number))

    for number, service in enumerate(file.service):
        note(f"{file.package}.{service.name}", (_SERVICE, number))
        for at, rpc in enumerate(service.method):
            note(f"{file.package}.{service.name}.{rpc.name}", (_SERVICE, number, _METHOD, at))
    for number, one in enumerate(file.message_type):
        message(one, f"{file.package}.{one.name}", (_MESSAGE, number))
    for number, enum in enumerate(file.enum_type):
        note(f"{file.package}.{enum.name}", (_ENUM, number))
        for at, value in enumerate(enum.value):
            note(f"{file.package}.{value.name}", (_ENUM, number, _VALUE, at))  # protobuf's scope of values
    return found
