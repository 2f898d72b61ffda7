"""Events as JSON: the wire form of a proto message on a topic.

Proto JSON with two differences that the contracts of other teams ask for: 64-bit integers are numbers, and zeros,
empty strings and empty lists are printed. Unset sub-messages are left out. Unknown fields are ignored when read.
"""

import json
from collections.abc import Callable
from functools import cache, lru_cache
from json.encoder import encode_basestring
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

M = TypeVar("M", bound=Message)
Write = Callable[[Any], str]

_AS_JSON: dict[int, Write] = {
    **dict.fromkeys(
        (
            FieldDescriptor.TYPE_INT32,
            FieldDescriptor.TYPE_UINT32,
            FieldDescriptor.TYPE_INT64,
            FieldDescriptor.TYPE_UINT64,
        ),
        str,
    ),
    FieldDescriptor.TYPE_STRING: encode_basestring,
    FieldDescriptor.TYPE_BOOL: {False: "false", True: "true"}.__getitem__,
}
_NANOS_MAX = 999_999_999


class UnreadableError(ValueError):
    """A text that is not the message that it should be."""


def dumps(event: Message) -> str:
    """Write a message as JSON, fields in the order of the contract.

    Raises:
        TypeError: the message has a field of a kind that no event has; named.
        ValueError: a time outside the years 1 to 9999.
    """
    return _writer(event.DESCRIPTOR)(event)


def loads(kind: type[M], payload: bytes) -> M:
    """Read a message from JSON.

    Raises:
        UnreadableError: it is no JSON object, or a field has a value that the contract does not allow.
    """
    try:
        value = json.loads(payload)
        if not isinstance(value, dict):
            raise UnreadableError("not a JSON object")
        return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
    except (ValueError, RecursionError, json_format.ParseError) as error:
        raise UnreadableError(str(error)) from error


@cache
def _writer(descriptor: Descriptor) -> Write:
    """What writes messages of a kind; made once, because asking each message for its fields costs more than writing."""
    if descriptor is Timestamp.DESCRIPTOR:
        return _timestamp
    if descriptor.file.package == "google.protobuf":
        raise TypeError(f"{descriptor.full_name} has a JSON form of its own, which kit.json does not know")
    pieces = [_piece(field) for field in descriptor.fields]

    def write(message: Any) -> str:
        return "{" + "".join([piece(message) for piece in pieces])[1:] + "}"

    return write


def _piece(field: FieldDescriptor) -> Write:
    """What writes one field of a message as `,"name":value`; nothing where it tells unset from zero, and is unset."""
    name, start, as_json = field.name, f',"{field.json_name}":', _value(field)

    def write_one(message: Any) -> str:
        return start + as_json(getattr(message, name))

    def write_set(message: Any) -> str:
        return start + as_json(getattr(message, name)) if message.HasField(name) else ""

    def write_all(message: Any) -> str:
        return start + "[" + ",".join([as_json(one) for one in getattr(message, name)]) + "]"

    if field.is_repeated:
        return write_all
    return write_set if field.has_presence else write_one


def _value(field: FieldDescriptor) -> Write:
    """What writes one value of a field."""
    if field.enum_type is not None:
        names = {number: f'"{value.name}"' for number, value in field.enum_type.values_by_number.items()}
        return lambda number: names.get(number) or str(number)  # one of a newer contract has no name yet
    if field.message_type is not None and not field.message_type.GetOptions().map_entry:
        return _writer(field.message_type)
    if field.type not in _AS_JSON:
        raise TypeError(f"{field.full_name} is of a kind that no event has")
    return _AS_JSON[field.type]


def _timestamp(time: Timestamp) -> str:
    """RFC 3339 in UTC, with as many digits of a second as it needs: none, 3, 6 or 9."""
    nanos = time.nanos
    if not 0 <= nanos <= _NANOS_MAX:
        raise ValueError(f"{nanos} nanoseconds are no part of a second")
    if nanos % 1_000_000 == 0:
        fraction = f".{nanos // 1_000_000:03}" if nanos else ""
    elif nanos % 1000 == 0:
        fraction = f".{nanos // 1000:06}"
    else:
        fraction = f".{nanos:09}"
    return f'"{_second(time.seconds)}{fraction}Z"'


@lru_cache(maxsize=1024)  # events come many a second
def _second(seconds: int) -> str:
    return Timestamp(seconds=seconds).ToJsonString().removesuffix("Z")
