"""`python -m identity seed FILE.jsonl`: the customers of a new shop."""

from typing import Any

import protovalidate
from google.protobuf import json_format

from abacus.identity.v1 import events_pb2
from identity import addresses, users
from kit.db import Database
from kit.errors import Error


async def load(db: Database, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Add the customers that the shop does not have yet, all in one transaction, and tell how they are reached.

    They have no password: they can ask for a token for one. A customer who is there, or whose id or address somebody
    has, is never touched, so a second load changes nothing. New accounts get ids above theirs.

    Args:
        rows: fields of abacus.identity.v1.Contact in proto style; `username` is not kept.

    Raises:
        ValueError: a row is none; says which, and nothing is added.
    """
    wanted = [_contact(number, row) for number, row in enumerate(rows, start=1)]
    async with db.transaction() as conn:
        # Nobody takes an id from the sequence while it is set.
        await conn.execute("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
        added = await users.add_with_ids(conn, wanted)
        await users.tell_contacts(conn, added)
    return {"users_added": len(added)}


def _contact(number: int, row: dict[str, Any]) -> events_pb2.Contact:
    try:
        contact = json_format.ParseDict(row, events_pb2.Contact())
        protovalidate.validate(contact)
        if contact.email:
            contact.email = addresses.email(contact.email)
        if contact.phone:
            contact.phone = addresses.phone(contact.phone)
    except (json_format.ParseError, protovalidate.ValidationError, Error) as error:
        raise ValueError(f"customer {number}: {error}") from error
    return contact
