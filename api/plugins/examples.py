"""Examples of messages in JSON: values that the contracts name (`example` of buf.validate), and the rest made up."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from api.plugins.contract import ContractError, field_rules, message_rules
from api.plugins.schemas import TIMESTAMP, Form, refuses_zero

_AT = "2026-11-21T12:00:00.123456Z"
_LONG = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64)


def requests(
    message: Descriptor, without: frozenset[str] = frozenset(), form: Form = Form.REQUEST
) -> dict[str, dict[str, Any]]:
    """Requests that the contract takes, by what tells them apart: one for each of the fields of which one must be set.

    They have the fields that must be there, and those that the contract gives an example of.
    """
    required = [rule for rule in message_rules(message).oneof if rule.required]
    if len(required) > 1:
        raise ContractError(f"{message.full_name}: the documents know one choice between fields")
    if not required:
        return {message.name: _request(message, without, form)}
    return {
        message.fields_by_name[chosen].json_name: _request(message, without | set(required[0].fields) - {chosen}, form)
        for chosen in required[0].fields
    }


def answer(message: Descriptor, form: Form = Form.ANSWER) -> dict[str, Any]:
    """A message as it is told, with every field."""
    return {field.json_name: value(field, form) for field in message.fields}


def given(field: FieldDescriptor, form: Form) -> Any:
    """The example that the contract gives of a field's value (of one of its values, where it has many); else None."""
    rules = field_rules(field).repeated.items if field.is_repeated else field_rules(field)
    kind = rules.WhichOneof("type")
    found = getattr(getattr(rules, kind), "example", ()) if kind else ()
    return _json(field, found[0], form) if found else None


def value(field: FieldDescriptor, form: Form) -> Any:
    """An example of what a field holds, one or many."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map(field)
    one = _one(field, form)
    return [one] if field.is_repeated else one


def _request(message: Descriptor, without: frozenset[str], form: Form) -> dict[str, Any]:
    left_out = set(without)
    for rule in message_rules(message).oneof:  # at most one of these
        left_out |= set([name for name in rule.fields if name not in without][1:])
    return {
        (field.name if form is Form.GRPC else field.json_name): value(field, form)
        for field in message.fields
        if field.name not in left_out and (refuses_zero(field) or _is_given(field))
    }


def _is_given(field: FieldDescriptor) -> bool:
    if field.message_type is not None and not field.message_type.GetOptions().map_entry:
        return any(_is_given(inner) for inner in field.message_type.fields)
    return bool(_map(field)) if field.message_type is not None else given(field, Form.REQUEST) is not None


def _one(field: FieldDescriptor, form: Form) -> Any:
    if field.message_type is not None:
        if field.message_type.full_name == TIMESTAMP:
            return _AT
        if form in (Form.REQUEST, Form.GRPC):
            return _request(field.message_type, frozenset(), form)
        return answer(field.message_type, form)
    found = given(field, form)
    return _made_up(field, form) if found is None else found


def _made_up(field: FieldDescriptor, form: Form) -> Any:
    """A value that the rules take; strings have none that could be made up for any rule."""
    rules = field_rules(field).repeated.items if field.is_repeated else field_rules(field)
    if field.enum_type is not None:
        barred = {0, *rules.enum.not_in} if len(field.enum_type.values) > 1 else set()
        return next(one.name for one in field.enum_type.values if one.number not in barred)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return False
    if field.type == FieldDescriptor.TYPE_STRING:
        allowed = [one for one in getattr(rules.string, "in") if one]
        return allowed[0] if allowed else ""
    return _json(field, 1, form)


def _map(field: FieldDescriptor) -> dict[str, Any]:
    rules = field_rules(field).map
    return dict(zip(rules.keys.string.example, rules.values.string.example, strict=True))


def _json(field: FieldDescriptor, found: Any, form: Form) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values_by_number[found].name
    return str(found) if field.type in _LONG and form is not Form.EVENT else found
