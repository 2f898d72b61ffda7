"""Events as JSON: the wire form that other teams read, to the letter."""

import json as plain_json
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from abacus.catalog.v1 import catalog_pb2
from abacus.checkout.v1 import checkout_pb2
from abacus.identity.v1 import events_pb2 as identity_events_pb2
from abacus.loms.v1 import events_pb2, loms_pb2
from kit import json

AT = datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)

GOLDEN = {
    "order-status": (
        events_pb2.OrderStatusChanged(
            order_id=9007199254740993,
            version=1,
            user=7,
            status=loms_pb2.ORDER_STATUS_AWAITING_PAYMENT,
            actor="anonymous",
            at=AT,
            items=[events_pb2.OrderLine(sku=1001, count=2, name="Чайник")],
            currency="RUB",
        ),
        (
            '{"orderId":9007199254740993,"version":1,"user":7,"previousStatus":"ORDER_STATUS_UNSPECIFIED",'
            '"status":"ORDER_STATUS_AWAITING_PAYMENT","reason":"","actor":"anonymous","at":"2026-11-21T10:00:00.123456Z",'
            '"items":[{"sku":1001,"count":2,"name":"Чайник","price":0}],"totalPrice":0,"currency":"RUB"}'
        ),
    ),
    "contact": (
        identity_events_pb2.Contact(username="anna", first_name="Анна", email="anna@example.com", user_id=1),
        (
            '{"username":"anna","firstName":"Анна","lastName":"","email":"anna@example.com","phone":"","userId":1,'
            '"language":""}'
        ),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_the_form_on_the_wire(name):
    """Names as the contract spells them, 64-bit integers as numbers, zeros printed."""
    message, text = GOLDEN[name]
    assert text == json.dumps(message)
    assert message == json.loads(type(message), text.encode())


@given(
    st.builds(
        events_pb2.OrderStatusChanged,
        order_id=st.integers(-(2**63), 2**63 - 1),
        version=st.integers(0, 2**31 - 1),
        reason=st.text(st.characters(exclude_categories=["Cs"])),
        total_price=st.integers(-(2**63), 2**63 - 1),
        items=st.lists(st.builds(events_pb2.OrderLine, sku=st.integers(0, 2**32 - 1), price=st.integers(0, 2**62))),
    )
)
def test_what_is_written_is_read_back(message):
    """No number loses a digit, no text a character."""
    assert message == json.loads(type(message), json.dumps(message).encode())


# Every event, and what has the kinds of fields that no event has yet: true and false, and what may be unset.
WRITTEN = [
    *(
        GetMessageClass(kind)
        for file in (events_pb2, identity_events_pb2)
        for kind in file.DESCRIPTOR.message_types_by_name.values()
    ),
    catalog_pb2.UpsertProductRequest,
    checkout_pb2.ListCartResponse,
]
INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


def values(field):
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.sampled_from(list(field.enum_type.values)).map(lambda value: value.number) | st.integers(0, 2**31 - 1)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.text(st.characters(exclude_categories=["Cs"]))
    if field.message_type is Timestamp.DESCRIPTOR:
        nanos = st.sampled_from([0, 1, 1000, 1_000_000, 999_999_999]) | st.integers(0, 999_999_999)
        return st.builds(Timestamp, seconds=st.integers(-62135596800, 253402300799), nanos=nanos)
    if field.message_type:
        return messages(field.message_type)
    lowest, highest = INTEGERS[field.type]
    return st.integers(lowest, highest) | st.sampled_from([lowest, 0, highest])


def messages(kind):
    fields = {
        field.name: st.lists(values(field), max_size=3) if field.is_repeated else values(field) for field in kind.fields
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: GetMessageClass(kind)(**given))


def as_contracted(message):
    """The form by the slow way: what json_format makes, with 64-bit integers as numbers."""

    def numbers(message, value):
        ordered = {}
        for field in message.DESCRIPTOR.fields:
            if field.json_name not in value:
                continue
            inner, part = getattr(message, field.name), value[field.json_name]
            if isinstance(part, str) and field.type in INTEGERS:
                part = int(part)
            elif isinstance(part, list) and field.type in INTEGERS:
                part = [int(one) for one in part]
            elif isinstance(part, list) and field.message_type:
                part = [numbers(one, its_part) for one, its_part in zip(inner, part, strict=True)]
            elif isinstance(part, dict):
                part = numbers(inner, part)
            ordered[field.json_name] = part
        return ordered

    value = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return plain_json.dumps(numbers(message, value), ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("kind", WRITTEN, ids=lambda kind: kind.DESCRIPTOR.full_name)
@given(data=st.data())
def test_every_event_is_written_as_proto_json_with_numbers(kind, data):
    """Odd texts, the ends of each range, set and unset fields, enums that have no name, times: byte by byte."""
    message = data.draw(messages(kind.DESCRIPTOR))
    assert as_contracted(message) == json.dumps(message)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (error_details_pb2.RetryInfo(), "google.protobuf.Duration"),
        (error_details_pb2.ErrorInfo(), "google.rpc.ErrorInfo.metadata"),
    ],
)
def test_what_no_event_has_is_refused_by_name(message, named):
    """A new kind of field is noticed where it is first written, not by who reads it."""
    with pytest.raises(TypeError, match=named):
        json.dumps(message)


@pytest.mark.parametrize("at", [Timestamp(nanos=-1), Timestamp(nanos=10**9), Timestamp(seconds=253402300800)])
def test_a_time_that_is_none_is_refused(at):
    """Nobody could read it."""
    with pytest.raises(ValueError, match=r"second|valid|range|year"):
        json.dumps(events_pb2.OrderStatusChanged(at=at))


def test_unknown_fields_are_ignored():
    """A newer producer may say more."""
    assert 5 == json.loads(events_pb2.OrderStatusChanged, b'{"orderId": 5, "new": {"x": [1]}}').order_id


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff",
        b'{"orderId": "x"}',
        b'{"items": 5}',
        b'{"at": "soon"}',
        b'{"version": 1e99}',
        b'{"version": 1.5}',
        b"[" * 100000,
    ],
)
def test_what_cannot_be_read_is_said_so(payload):
    """One error for all that is broken."""
    with pytest.raises(json.UnreadableError):
        json.loads(events_pb2.OrderStatusChanged, payload)
