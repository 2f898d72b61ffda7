"""What people are told of their accounts: a welcome, and codes that only they may read."""

import re
import uuid
from datetime import UTC
from typing import Any

from abacus.identity.v1 import events_pb2
from kit import json
from kit.db import Connection
from kit.inbox import Event
from notifications import contacts, messages
from notifications.kinds import Kind, Words, one_line
from notifications.messages import Channel, Claimed

REGISTRATION_TOPIC = "abacus.identity.registration.v1"
SECRET_TOPIC = "abacus.identity.secret.v1"  # noqa: S105  # a name

WELCOME = "welcome"
# The contact, which tells the name and the language, is published in the same moment, on a topic of its own.
CONTACT_PAUSE_S = 1.0

_ID = re.compile(r"[1-9][0-9]{0,17}")


async def welcome(conn: Connection, event: Event) -> None:
    """Note the message that an abacus.identity.v1.Registration asks for, once for each promo id.

    It goes to the address of its `type`, or to the other one where that is all there is.

    Raises:
        json.UnreadableError: it names no address, or one that cannot be one.
    """
    registration = event.message
    contacts.check(email=registration.user_email, phone=registration.user_phone, names=("userEmail", "userPhone"))
    addresses = {Channel.EMAIL: registration.user_email, Channel.SMS: registration.user_phone}
    given = [Channel(registration.type), *Channel]
    channel = next((channel for channel in given if addresses[channel]), None)
    if channel is None:
        raise json.UnreadableError("userPhone and userEmail: both are empty")
    is_known = _ID.fullmatch(event.key)
    await messages.note(
        conn,
        event_id=event.event_id,
        kind=WELCOME,
        about=str(uuid.UUID(registration.promo_id)),
        user_id=int(event.key) if is_known else None,
        channel=channel,
        address=addresses[channel],
        # Without the addresses: one column has it.
        event=json.dumps(events_pb2.Registration(type=registration.type, promo_id=registration.promo_id)),
        pause_s=CONTACT_PAUSE_S if is_known else 0,
    )


async def secret(conn: Connection, event: Event) -> None:
    """Note an abacus.identity.v1.SecretMessage as it is, sealed."""
    message = event.message
    await messages.note(
        conn,
        event_id=event.event_id,
        kind=message.kind,
        about=event.event_id,
        user_id=message.user_id,
        channel=KINDS[message.kind].channels[0],  # until it is opened
        sealed=message.sealed,
        expires_at=message.expires_at.ToDatetime(UTC),
    )


def _promo(registration: Any, claimed: Claimed, words: Words) -> dict[str, Any]:
    return {"name": one_line(claimed.first_name), "promo": registration.promo_id}


def _code(secret: Any, claimed: Claimed, words: Words) -> dict[str, Any]:
    return {
        "name": one_line(claimed.first_name),
        "code": one_line(secret.code),
        "link": one_line(secret.link),
        "good_for": words.minutes(claimed.expires_in_s or 0),
    }


KINDS = {
    WELCOME: Kind((Channel.SMS, Channel.EMAIL), events_pb2.Registration, _promo),
    "verify_email": Kind((Channel.EMAIL,), events_pb2.Secret, _code),
    "verify_phone": Kind((Channel.SMS,), events_pb2.Secret, _code),
    "reset_password": Kind((Channel.EMAIL, Channel.SMS), events_pb2.Secret, _code),
}
