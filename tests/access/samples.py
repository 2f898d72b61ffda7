"""A valid request for every RPC of the contracts, made of its fields' names."""

import itertools
import uuid
from collections.abc import Container, Iterator
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

from deploy import contracts
from deploy.native.parts import SERVICES

SKU = 700_001
PASSWORD = "correct horse battery staple"  # of nobody
_numbers = itertools.count(1)

# What a request with both of them must not have.
_LEFT_OUT = {
    "RequestPasswordResetRequest": {"phone"},
    "UpdateMeRequest": {"id"},
    "PlaceOrderRequest": {"product_id"},
    "CreateReservationRequest": {"items"},
}


def rpcs() -> Iterator[MethodDescriptor]:
    """Every RPC of every service."""
    for service in contracts.services(SERVICES):
        yield from service.methods


def sample(rpc: MethodDescriptor, **named: int) -> Message:
    """A valid request; `user`, `order_id`, `user_id` are those given, a reservation is that of the order."""
    number = next(_numbers)
    values: dict[str, Any] = {
        "user": 1,
        "order_id": 1,
        "user_id": 1,
        **named,
        "reservation_id": named.get("order_id", 1),
        "notification_id": 1,
        "sku": SKU,
        "skus": [SKU],
        "product_id": SKU,
        "product_ids": [SKU],
        "count": 1,
        "items": [{"sku": SKU, "count": 1}],
        "country": "Russia",
        "region": "Perm",
        "city": "Perm",
        "street": "Lenina 1",
        "channel": "CHANNEL_EMAIL",
        "to": "sample@mail.example",
        "template": "notice",
        "variables": {"subject": "Hello", "text": "We moved."},
        "warehouse_id": 1,
        "delta": 1,
        "request_id": f"sample-{uuid.uuid4()}",
        "name_ru": "Счёты",
        "name_en": "Abacus",
        "first_name": "Ann",
        "last_name": "Other",
        "email": f"sample{number}.{uuid.uuid4().hex[:8]}@mail.example",
        "phone": f"+1555{uuid.uuid4().int % 10**7:07}",
        "password": PASSWORD,
        "current_password": PASSWORD,
        "new_password": PASSWORD + "!",
        "code": "000000",
        "refresh_token": "rt_none",
        "reset_token": "none",
        "session_id": str(uuid.uuid4()),
        "roles": ["ROLE_CUSTOMER"],
    }
    if "items" in rpc.input_type.fields_by_name and "quantity" in _fields_of(rpc.input_type, "items"):
        values["items"] = [{"product_id": SKU, "quantity": 1}]
    request = message_factory.GetMessageClass(rpc.input_type)()
    left_out = _LEFT_OUT.get(rpc.input_type.name, set())
    chosen = {
        field.name: values[field.name]
        for field in rpc.input_type.fields
        if field.name in values and field.name not in left_out
    }
    return type(request)(**chosen)


def _fields_of(message: Descriptor, field: str) -> Container[str]:
    fields: Container[str] = message.fields_by_name[field].message_type.fields_by_name
    return fields
