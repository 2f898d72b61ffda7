"""JSON schemas (draft 2020-12) of messages: what requests may say, what answers and events say.

Every rule of buf.validate that our contracts use is told. A rule that is not known here is refused: a document that
leaves a rule out would not be true.
"""

import re
from collections.abc import Callable
from enum import Enum
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from api.plugins.contract import ContractError, Contracts, field_rules, for_json, message_rules
from buf.validate import validate_pb2
from kit.access import is_guarded
from kit.client import service_of

Schema = dict[str, Any]
TIMESTAMP = "google.protobuf.Timestamp"
# Names of fields that are formats too: what identity takes for an address or a phone no pattern can say.
_FORMATS = ("email", "phone")
_UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: ("uint64", 0, 2**64 - 1),
}
_BOUNDS = {"gt": ("minimum", 1), "gte": ("minimum", 0), "lt": ("maximum", -1), "lte": ("maximum", 0)}
_STRING_RULES = {"min_len": "minLength", "max_len": "maxLength", "pattern": "pattern"}
_LIST_RULES = {"min_items": "minItems", "max_items": "maxItems", "unique": "uniqueItems"}
_MAP_RULES = {"min_pairs": "minProperties", "max_pairs": "maxProperties"}


class Form(Enum):
    """How a message stands in JSON."""

    REQUEST = "request"  # as REST takes it in a body
    PARAMETER = "parameter"  # as REST takes it in a path or a query
    GRPC = "grpc"  # as programs of gRPC write it, with the names of the contract; examples only
    ANSWER = "answer"  # as REST gives it
    EVENT = "event"  # as kit.json writes it


class Schemas:
    """Makes schemas; those of messages and enums are named, and kept in `named`.

    Args:
        contracts: where comments stand.
        form: of the JSON.
        at: what a reference to a named schema begins with.
    """

    def __init__(self, contracts: Contracts, form: Form, at: str = "#/components/schemas/"):
        self.contracts = contracts
        self.form = form
        self.at = at
        self.named: dict[str, Schema] = {}

    def reference(self, of: Descriptor | EnumDescriptor) -> Schema:
        """A reference to the schema of a message or an enum, which is made if it is not there yet."""
        name = f"{service_of(of.full_name)}.{of.name}"
        if self.form is Form.REQUEST and isinstance(of, Descriptor) and not name.endswith("Request"):
            name += "Input"  # answers may have the same message, with other rules
        if name not in self.named:
            self.named[name] = {}  # it may hold itself
            self.named[name] = self.message(of) if isinstance(of, Descriptor) else self._enum(of)
        return {"$ref": self.at + name}

    def message(self, message: Descriptor, without: frozenset[str] = frozenset()) -> Schema:
        """The schema of a message; `without` names fields that stand elsewhere."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Schema = {"type": "object"}
        rules = message_rules(message)
        texts = [self.contracts.comment(message)] + [f"Rule: {rule.message}." for rule in rules.cel]
        if text := for_json("\n\n".join(text for text in texts if text)):
            schema["description"] = text
        schema["properties"] = {field.json_name: self._field(field) for field in fields}
        if required := [field.json_name for field in fields if self.is_required(field)]:
            schema["required"] = required
        if self.form is Form.REQUEST:
            schema["additionalProperties"] = False
            if conditions := [self._one_of(message, rule) for rule in rules.oneof]:
                schema["allOf"] = conditions
        return schema

    def is_required(self, field: FieldDescriptor) -> bool:
        """Whether JSON must have the field: in requests, because the contract refuses its zero."""
        if self.form in (Form.REQUEST, Form.PARAMETER):
            return refuses_zero(field) and not self._is_filled_in(field)
        if field.has_presence and self.form is Form.EVENT:
            return bool(field_rules(field).required)
        return not field.has_presence

    def _is_filled_in(self, field: FieldDescriptor) -> bool:
        return field.full_name in self.contracts.filled_in

    def _field(self, field: FieldDescriptor) -> Schema:
        schema = self.value(field)
        if self.form is Form.REQUEST and not self.is_required(field):
            schema = _or_null(schema)
        text = self.text(field)
        if text and self.form is Form.EVENT and "$ref" in schema:
            schema = {"allOf": [schema]}  # AsyncAPI lets nothing stand beside a reference
        if text:
            schema["description"] = text
        return schema

    def text(self, field: FieldDescriptor) -> str:
        """What is said of a field: its comment, and what its options mean."""
        texts = [for_json(self.contracts.comment(field))]
        if self._is_filled_in(field):
            texts.append("The caller, where it is left out.")
        if is_guarded(field):
            texts.append("Services alone may set it; given by a person it is refused.")
        return " ".join(text for text in texts if text)

    def value(self, field: FieldDescriptor) -> Schema:
        """The schema of what a field holds, one or many."""
        rules = field_rules(field)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            names = self._one(key, rules.map.keys)
            schema = {
                "type": "object",
                "additionalProperties": self._one(value, rules.map.values),
                **_told(rules.map, _MAP_RULES, field, skip=("keys", "values")),
            }
            return schema | ({"propertyNames": names} if names != {"type": "string"} else {})
        if field.is_repeated:
            told = _told(rules.repeated, _LIST_RULES, field, skip=("items",))
            return {"type": "array", "items": self._one(field, rules.repeated.items), **told}
        return self._one(field, rules)

    def _one(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Schema:
        if rules.cel:
            raise ContractError(f"{field.full_name}: the documents do not know what its cel rule says")
        if field.message_type is not None:
            if field.message_type.full_name == TIMESTAMP:
                return {"type": "string", "format": "date-time"}
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return self._one_enum(field, field.enum_type, rules.enum)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._string(field, rules.string)
        if field.type in _INTEGERS:
            return self._integer(field, getattr(rules, _INTEGERS[field.type][0]))
        raise ContractError(f"{field.full_name}: the documents do not know this kind of field")

    def _string(self, field: FieldDescriptor, rules: validate_pb2.StringRules) -> Schema:
        schema: Schema = {"type": "string", **_told(rules, _STRING_RULES, field, skip=("in", "uuid", "example"))}
        if rules.uuid:
            schema |= {"format": "uuid", "pattern": _UUID}
        if "pattern" in schema:
            schema["pattern"] = ecma(schema["pattern"])
        elif self.form is not Form.ANSWER and field.name in _FORMATS:
            schema["format"] = field.name
        if allowed := getattr(rules, "in"):
            schema["enum"] = list(allowed)
        return schema

    def _integer(self, field: FieldDescriptor, rules: Any) -> Schema:
        form, low, high = _INTEGERS[field.type]
        bounds = {"minimum": low, "maximum": high}
        for rule, (bound, step) in _BOUNDS.items():
            if rules.HasField(rule):
                bounds[bound] = getattr(rules, rule) + step
        if self._is_filled_in(field):
            bounds["minimum"] = min(bounds["minimum"], 0)
        _told(rules, {}, field, skip=(*_BOUNDS, "not_in", "example"))
        barred = {"not": {"enum": list(rules.not_in)}} if rules.not_in else {}
        number: Schema = {"type": "integer", "format": form, **bounds, **barred}
        if form not in ("int64", "uint64") or self.form in (Form.EVENT, Form.PARAMETER):
            return number
        if self.form is Form.ANSWER:
            return {"type": "string", "format": form, "pattern": "^-?[0-9]+$" if low else "^[0-9]+$"}
        if rules.not_in:
            raise ContractError(f"{field.full_name}: the documents do not know not_in of 64 bits")
        both = {"anyOf": [{"type": "string", "pattern": decimals(**bounds)}, number]}
        if bounds["maximum"] != high:
            return both
        name = form if bounds["minimum"] == low else f"{form}.from{bounds['minimum']}"
        self.named[name] = both
        return {"$ref": self.at + name}

    def _one_enum(self, field: FieldDescriptor, enum: EnumDescriptor, rules: validate_pb2.EnumRules) -> Schema:
        _told(rules, {}, field, skip=("defined_only", "not_in", "example"))
        if self.form not in (Form.REQUEST, Form.PARAMETER):
            return self.reference(enum)
        allowed = [value.name for value in enum.values if value.number not in rules.not_in]
        return {"type": "string", "enum": allowed}

    def _enum(self, enum: EnumDescriptor) -> Schema:
        # Their full names leave the enum out: protobuf's scope of values is that of the enum itself.
        package = enum.full_name.rpartition(".")[0]
        said = {value.name: self.contracts.comments.get(f"{package}.{value.name}") for value in enum.values}
        texts = [self.contracts.comment(enum), *(f"- `{name}`: {text}" for name, text in said.items() if text)]
        schema: Schema = {"type": "string", "enum": [value.name for value in enum.values]}
        if text := for_json("\n".join(text for text in texts if text)):
            schema["description"] = text
        return schema

    def _one_of(self, message: Descriptor, rule: validate_pb2.MessageOneofRule) -> Schema:
        """Exactly one, or at most one, of some fields is set; a zero counts as not set."""
        is_set = [self._is_set(message.fields_by_name[name]) for name in rule.fields]
        if rule.required:
            return {"oneOf": is_set}
        return {"oneOf": [*is_set, {"not": {"anyOf": is_set}}]}

    def _is_set(self, field: FieldDescriptor) -> Schema:
        if field.is_repeated:
            value: Schema = {"type": "array", "minItems": 1}
        elif field.message_type is not None:
            value = {"type": "object"}
        elif field.type == FieldDescriptor.TYPE_STRING:
            value = {"type": "string", "minLength": 1}
        elif field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32):
            value = {"type": "integer", "not": {"const": 0}}
        else:
            raise ContractError(f"{field.full_name}: the documents do not know a oneof of this kind of field")
        return {"required": [field.json_name], "properties": {field.json_name: value}}


def refuses_zero(field: FieldDescriptor) -> bool:
    """Whether a request must have the field, because the contract refuses its zero or asks for it."""
    rules = field_rules(field)
    if rules.required:
        return True
    if field.has_presence:
        return False
    if rules.WhichOneof("type") is None:
        return False
    own = getattr(rules, rules.WhichOneof("type"))
    return any(_ZERO_BREAKS.get(rule.name, _never)(value) for rule, value in own.ListFields())


def _never(value: Any) -> bool:
    return False


_ZERO_BREAKS: dict[str, Callable[[Any], bool]] = {
    "gt": lambda bound: bound >= 0,
    "gte": lambda bound: bound > 0,
    "lt": lambda bound: bound <= 0,
    "lte": lambda bound: bound < 0,
    "min_len": bool,
    "min_items": bool,
    "min_pairs": bool,
    "uuid": bool,
    "pattern": lambda pattern: re.search(ecma(pattern), "") is None,
    "in": lambda allowed: not any(value in ("", 0) for value in allowed),
    "not_in": lambda barred: any(value in ("", 0) for value in barred),
}


def decimals(minimum: int, maximum: int) -> str:
    """A pattern for whole numbers in a range that begins with 0, 1 or a negative one, without leading zeros."""
    if minimum > 1:
        raise ContractError(f"the documents do not know numbers of 64 bits that begin with {minimum}")
    negative = [f"-{one}" for one in _up_to(-minimum)] if minimum < 0 else []
    return f"^(?:{'|'.join([*negative, *(['0'] if minimum < 1 else []), *_up_to(maximum)])})$"


def _up_to(high: int) -> list[str]:
    """Patterns for the whole numbers from 1 to high: shorter ones, those with a smaller digit somewhere, itself."""
    digits = str(high)
    found = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"] if len(digits) > 1 else []
    for place, digit in enumerate(digits):
        least, rest = (0 if place else 1), len(digits) - place - 1
        if int(digit) > least:
            found.append(f"{digits[:place]}[{least}-{int(digit) - 1}]" + (f"[0-9]{{{rest}}}" if rest else ""))
    return [*found, digits]


def ecma(pattern: str) -> str:
    """A pattern of RE2 as ECMA 262, and Python, spell it."""
    return re.sub(r"\\x\{([0-9a-f]{4})\}", r"\\u\1", pattern)


def _told(rules: Message, names: dict[str, str], field: FieldDescriptor, skip: tuple[str, ...] = ()) -> Schema:
    """Rules under the names that JSON schema has for them."""
    schema = {}
    for rule, value in rules.ListFields():
        if rule.name in names:
            schema[names[rule.name]] = value
        elif rule.name not in skip:
            raise ContractError(f"{field.full_name}: the documents do not know its rule {rule.name}")
    return schema


def _or_null(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if "anyOf" in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    also = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | also
