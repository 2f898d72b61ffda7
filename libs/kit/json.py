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


def dumps(event: Message) -> str:
    """Write a message as JSON."""
    value = json_format.MessageToDict(event, always_print_fields_with_no_presence=True)
    return json.dumps(_with_numbers(event, value), ensure_ascii=False, separators=(",", ":"))


def loads(kind: type[M], payload: bytes) -> M:
    """Read a message from JSON.

    Raises:
        ValueError: it is no JSON object, or a field has a value that the contract does not allow.
    """
    value = json.loads(payload)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    try:
        return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(str(error)) from error


def _with_numbers(message: Message, value: dict[str, Any]) -> dict[str, Any]:
    """Turn the strings that proto JSON makes of 64-bit integers into numbers, at every depth."""
    for field in message.DESCRIPTOR.fields:
        name = field.json_name
        if name not in value:
            continue
        if field.type in _INT64:
            value[name] = [int(item) for item in value[name]] if field.is_repeated else int(value[name])
        elif field.type == FieldDescriptor.TYPE_MESSAGE and isinstance(value[name], dict | list):
            parts = getattr(message, field.name)
            pairs = zip(parts, value[name], strict=True) if field.is_repeated else [(parts, value[name])]
            for part, inner in pairs:
                if isinstance(inner, dict):  # a Timestamp is a string
                    _with_numbers(part, inner)
    return value
