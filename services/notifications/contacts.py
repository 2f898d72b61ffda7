"""Contacts of customers. Owns the table contacts."""

import re

from kit import json
from kit.db import Connection
from kit.inbox import Event
from notifications import messages

TOPIC = "abacus.identity.contact.v1"

# Without `=?`, which an e-mail's header would decode into another address.
_EMAIL = re.compile(r"(?!.*=\?)[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}@[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,255}")
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


def check(*, email: str, phone: str, names: tuple[str, str] = ("email", "phone")) -> None:
    """Refuse what cannot be an address; `names` are those of the two fields. Empty is none.

    Raises:
        json.UnreadableError: it names the field, and quotes nothing.
    """
    if email and not _EMAIL.fullmatch(email):
        raise json.UnreadableError(f"{names[0]}: not an address")
    if phone and not _PHONE.fullmatch(phone):
        raise json.UnreadableError(f"{names[1]}: not an E.164 number")


async def keep(conn: Connection, event: Event) -> None:
    """Keep an abacus.identity.v1.Contact in place of the user's older one, and wake what waits for it.

    Raises:
        json.UnreadableError: it names an address that cannot be one.
    """
    contact = event.message
    check(email=contact.email, phone=contact.phone)
    await conn.execute(
        """
        INSERT INTO contacts (user_id, first_name, last_name, email, phone, language, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (user_id) DO UPDATE
           SET (first_name, last_name, email, phone, language, updated_at) =
               (excluded.first_name, excluded.last_name, excluded.email, excluded.phone, excluded.language,
                excluded.updated_at)
         WHERE contacts.updated_at <= excluded.updated_at  -- a dead letter that is replayed may be the older one
        """,
        contact.user_id,
        contact.first_name,
        contact.last_name,
        contact.email,
        contact.phone,
        contact.language or "ru",
        event.at,
    )
    await messages.look_again(conn, contact.user_id)
