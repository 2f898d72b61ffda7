"""Events as JSON: the wire form that other teams read, to the letter."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
