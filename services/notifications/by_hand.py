"""What may be sent by hand: of which templates, by which channels, with which variables."""

import json as stdlib_json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.struct_pb2 import Struct

from kit import json
from kit.db import Connection
from kit.errors import INVALID_FIELD
from notifications import contacts, messages
from notifications.errors import ADDRESS_INVALID, TEMPLATE_NOT_FOUND, VARIABLE_MISSING, VARIABLE_UNKNOWN
from notifications.kinds import Kind, Words, lines, one_line
from notifications.messages import Channel, Claimed

NOTICE = "notice"
GIFT = "gift"  # not a welcome: what a registration tells is made of another event


@dataclass(frozen=True)
class Variable:
    """What a template takes."""

    max_characters: int  # as UTF-16 counts them, and as an SMS that is not of Latin letters alone does
    has_lines: bool = False
    is_optional: bool = False


# None that carries a code: only who may read a code knows it. None about orders: those tell what happened.
TEMPLATES: dict[str, dict[Channel, dict[str, Variable]]] = {
    NOTICE: {
        Channel.EMAIL: {"subject": Variable(200), "text": Variable(5000, has_lines=True)},
        # With its signature ten parts of an SMS in Cyrillic, each of which is paid for.
        Channel.SMS: {"text": Variable(660, has_lines=True)},
    },
    GIFT: {
        Channel.EMAIL: {"name": Variable(100, is_optional=True), "promo": Variable(100)},
        Channel.SMS: {"promo": Variable(100)},
    },
}


def checked(template: str, channel: Channel, to: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables as they will be shown.

    Raises:
        Error: TEMPLATE_NOT_FOUND, ADDRESS_INVALID, VARIABLE_UNKNOWN, VARIABLE_MISSING; INVALID_FIELD, one is too long.
    """
    taken = TEMPLATES.get(template, {}).get(channel)
    if taken is None:
        raise TEMPLATE_NOT_FOUND(f"template: none of this name is sent by {channel} by hand", field="template")
    is_mail = channel is Channel.EMAIL
    try:
        contacts.check(email=to if is_mail else "", phone="" if is_mail else to, names=("to", "to"))
    except json.UnreadableError as error:
        raise ADDRESS_INVALID(str(error), field="to") from None
    if not variables.keys() <= taken.keys():
        # Not by its name, which may be anything: the contract has no rule for names, whose errors would quote them.
        raise VARIABLE_UNKNOWN(f"variables: by {channel} the template has only {', '.join(taken)}", field="variables")
    return {name: _value(name, variable, variables.get(name, "")) for name, variable in taken.items()}


def _value(name: str, variable: Variable, given: str) -> str:
    field = f"variables[{name}]"
    value = lines(given) if variable.has_lines else one_line(given)
    if not value and not variable.is_optional:
        raise VARIABLE_MISSING(f"{field}: the template needs it", field=field)
    if len(value.encode("utf-16-le")) // 2 > variable.max_characters:
        raise INVALID_FIELD(f"{field}: {variable.max_characters} characters at most", field=field)
    return value


async def note(
    conn: Connection,
    *,
    template: str,
    channel: Channel,
    to: str,
    variables: Mapping[str, str],
    language: str,
    sent_by: str,
) -> int | None:
    """Note a message with variables that were checked; return its id."""
    event_id = str(uuid.uuid4())
    return await messages.note(
        conn,
        event_id=event_id,
        kind=template,
        about=event_id,  # of nothing else: whoever says it twice means it
        user_id=None,
        channel=channel,
        address=to,
        event=stdlib_json.dumps(dict(variables)),
        language=language,
        sent_by=sent_by,
    )


def _values(variables: Any, claimed: Claimed, words: Words) -> dict[str, Any]:
    return dict(variables)


KINDS = {template: Kind(tuple(channels), Struct, _values) for template, channels in TEMPLATES.items()}
