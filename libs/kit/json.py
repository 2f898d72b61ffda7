"""Events as JSON: the wire form of a proto message on a topic.

Proto JSON with two differences that the contracts of other teams ask for: 64-bit integers are numbers, and zeros,
empty strings and empty lists are printed. Unset sub-messages are left out. Unknown fields are ignored when read.
"""

import json
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
_INT64 = {
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_UINT64,
    FieldDescriptor.TYPE_SINT64,
    FieldDescriptor.TYPE_FIXED64,
    FieldDescriptor.TYPE_SFIXED64,
}


class UnreadableError(ValueError):
    """A text that is not the message that it should be."""


def dumps(event: Message) -> str:
    """Write a message as JSON, fields in the order of the contract."""
    value = json_format.MessageToDict(event, always_print_fields_with_no_presence=True)
    return json.dumps(_as_contracted(event, value), ensure_ascii=False, separators=(",", ":"))


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


def _as_contracted(message: Message, value: dict[str, Any]) -> dict[str, Any]:
    """Turn the strings that proto JSON makes of 64-bit integers into numbers, and order the fields, at every depth."""
    ordered = {}
    for field in message.DESCRIPTOR.fields:
        name = field.json_name
        if name not in value:
            continue
        part = value[name]
        if field.type in _INT64:
            part = [int(item) for item in part] if field.is_repeated else int(part)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            inner = getattr(message, field.name)
            if isinstance(part, list):
                part = [_as_contracted(one, of_one) for one, of_one in zip(inner, part, strict=True)]
            elif isinstance(part, dict):  # a Timestamp is a string
                part = _as_contracted(inner, part)
        ordered[name] = part
    return ordered
