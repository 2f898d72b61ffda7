"""What the contracts say: services, RPCs and their REST routes, topics."""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.rpc import error_details_pb2, status_pb2

from abacus.topics.v1 import topics_pb2
from kit.access import messages_in

_VARIABLE = re.compile(r"{([^={}]+)(?:=([^{}]*))?}")


@dataclass(frozen=True)
class Binding:
    """A REST route of an RPC."""

    rpc: MethodDescriptor
    verb: str  # "GET"
    template: str  # "/api/v1/users/{user_id}"
    body: str  # kind of the body: see `kind`; "": it has none
    in_path: Mapping[str, str]  # fields of the request that stand in the path: kinds by both names that JSON may use
    in_query: Mapping[str, str]  # those that may stand in the query
    unwraps: bool  # the answer's only field is the whole body

    @property
    def pattern(self) -> str:
        """The template as a regular expression of whole paths; a literal path where it has no variables."""
        return "".join(
            text if number % 2 else re.escape(text).replace(r"\-", "-")
            for number, text in enumerate(_segments(_VARIABLE.sub(lambda found: found[2] or "*", self.template)))
        )

    @property
    def is_literal(self) -> bool:
        """Whether the template has neither variables nor wildcards."""
        return not re.search(r"[{*]", self.template)


def _segments(template: str) -> list[str]:
    """Split at the wildcards; the odd ones are these, as regular expressions."""
    wild = {"**": ".+", "*": "[^/]+"}
    return [wild.get(text, text) for text in re.split(r"(\*\*|\*)", template)]


def services(names: Iterable[str]) -> list[ServiceDescriptor]:
    """Return the gRPC services of the contracts of these services ("loms": package abacus.loms.v1)."""
    return [service for file in _files(names) for service in file.services_by_name.values()]


def topics(names: Iterable[str]) -> list[topics_pb2.Topic]:
    """Return the topics whose messages stand in the contracts of these services."""
    options = [message.GetOptions() for file in _files(names) for message in file.message_types_by_name.values()]
    topic: Any = topics_pb2.topic  # protoc's own type stubs take an extension for its descriptor
    return [one.Extensions[topic] for one in options if one.HasExtension(topic)]


def _files(names: Iterable[str]) -> Iterator[FileDescriptor]:
    for name in names:
        package = importlib.import_module(f"abacus.{name}.v1")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_pb2"):
                yield importlib.import_module(f"{package.__name__}.{module.name}").DESCRIPTOR


def bindings(service: ServiceDescriptor) -> Iterator[Binding]:
    """Give the REST routes of a service's RPCs."""
    for rpc in service.methods:
        options = rpc.GetOptions()
        if options.HasExtension(annotations_pb2.http):
            rule = options.Extensions[annotations_pb2.http]
            for each in (rule, *rule.additional_bindings):
                yield _binding(rpc, each)


def _binding(rpc: MethodDescriptor, rule: http_pb2.HttpRule) -> Binding:
    pattern = rule.WhichOneof("pattern")
    if pattern is None:
        raise ValueError(f"{rpc.full_name} has a REST route without a path")
    verb, path = (
        (rule.custom.kind, rule.custom.path) if pattern == "custom" else (pattern.upper(), getattr(rule, pattern))
    )
    if rule.response_body and [rule.response_body] != [field.name for field in rpc.output_type.fields]:
        raise ValueError(f"{rpc.full_name}: the response_body {rule.response_body} is not the only field of the answer")
    fields = {field.name: field for field in rpc.input_type.fields}
    in_path = {found[1].partition(".")[0] for found in _VARIABLE.finditer(path)}
    if rule.body == "*":
        body, in_query = rpc.input_type.full_name, set[str]()
    else:
        body = kind(fields[rule.body]) if rule.body else ""
        # Messages have no form there that a document could describe.
        plain = {field.name for field in fields.values() if field.message_type is None}
        in_query = plain - in_path - {rule.body}

    def kinds(names: set[str]) -> dict[str, str]:
        return {spelling: kind(fields[name]) for name in names for spelling in (name, fields[name].json_name)}

    return Binding(rpc, verb, path, body, kinds(in_path), kinds(in_query), bool(rule.response_body))


def kind(field: FieldDescriptor) -> str:
    """Return what a field's value in JSON is: see rest.lua."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return f"map {kind(message.fields_by_name['value'])}"
    if message is not None:
        one = str(message.full_name) if _is_ours(message) else "any"  # Google's have JSON forms of their own
    elif field.enum_type is not None:
        one = f"enum {field.enum_type.full_name}"
    else:
        one = _SCALARS[field.type]
    return f"list {one}" if field.is_repeated else one


# JavaScript's numbers hold 53 bits: of 64, JSON has the digits as a string.
_SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    **dict.fromkeys((FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT), "number"),
    **dict.fromkeys(
        (
            FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SFIXED32,
            FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_FIXED32,
        ),
        "int32",
    ),
    **dict.fromkeys(
        (
            FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_SFIXED64,
            FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64,
        ),
        "int64",
    ),
}  # fmt: skip


def _is_ours(message: Descriptor) -> bool:
    return str(message.full_name).startswith("abacus.")


def body_types(bindings: Iterable[Binding]) -> dict[str, dict[str, str]]:
    """Return the fields of all messages of ours that REST bodies may hold: kinds by both names that JSON may use."""
    return {
        message.full_name: {name: kind(field) for field in message.fields for name in (field.name, field.json_name)}
        for message in messages_in(binding.rpc.input_type for binding in bindings if binding.body)
        if _is_ours(message)
    }


def enums(bindings: Iterable[Binding]) -> dict[str, list[str]]:
    """Return the values' names of all enums that requests of these routes may hold, by the enum's full name."""
    return {
        field.enum_type.full_name: [value.name for value in field.enum_type.values]
        for message in messages_in(binding.rpc.input_type for binding in bindings)
        for field in message.fields
        if field.enum_type is not None
    }


def descriptor_set(services: Iterable[ServiceDescriptor]) -> descriptor_pb2.FileDescriptorSet:
    """Return the files of these services with all they import, and those of the errors' details."""
    # Without these two an error has no body: the transcoder finds its types nowhere.
    wanted: list[FileDescriptor] = [status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR]
    wanted += [service.file for service in services]
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def add(file: FileDescriptor) -> None:
        if file.name not in files:
            for needed in file.dependencies:
                add(needed)  # first: the reader takes a file only after those that it imports
            files[file.name] = _without_response_bodies(file)

    for file in wanted:
        add(file)
    return descriptor_pb2.FileDescriptorSet(file=files.values())


def _without_response_bodies(file: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    """Envoy's transcoder takes no file that has one; routes see to them."""
    described = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
    for service in described.service:
        for rpc in service.method:
            if rpc.options.HasExtension(annotations_pb2.http):
                rule = rpc.options.Extensions[annotations_pb2.http]
                for each in (rule, *rule.additional_bindings):
                    each.ClearField("response_body")
    return described
