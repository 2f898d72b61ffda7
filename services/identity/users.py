"""People and how they are reached. Owns the table users.

Whoever changes a person locks their row first: so the events of one person are in order. Lock order in this service:
users, then credentials and codes, then sessions, then limits.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from abacus.identity.v1 import events_pb2
from identity import search
from identity.errors import USER_EXISTS, USER_NOT_FOUND
from kit import outbox
from kit.db import Connection
from kit.errors import Error

CONTACT_TOPIC = "abacus.identity.contact.v1"
REGISTRATION_TOPIC = "abacus.identity.registration.v1"

CUSTOMER, ADMIN = "customer", "admin"


class Channel(StrEnum):
    """A way to a person."""

    EMAIL = "email"
    SMS = "sms"


@dataclass(frozen=True)
class Target:
    """An address that a person may have: normalised."""

    channel: Channel
    address: str

    def __str__(self) -> str:
        """In the form in which two are compared."""
        return f"{self.channel} {self.address.lower()}"


@dataclass(frozen=True)
class User:
    """A person's account."""

    id: int
    first_name: str
    last_name: str
    email: str  # empty: none
    phone: str  # E.164; empty: none
    email_verified: bool
    phone_verified: bool
    language: str  # "ru" or "en"
    roles: Sequence[str]
    created_at: datetime
    disabled_at: datetime | None

    @property
    def known(self) -> tuple[str, ...]:
        """What everybody knows of the person."""
        return self.first_name, self.last_name, self.email, self.phone

    @property
    def targets(self) -> list[Target]:
        """The addresses that the person has."""
        both = (Target(Channel.EMAIL, self.email), Target(Channel.SMS, self.phone))
        return [target for target in both if target.address]

    def is_verified(self, channel: Channel) -> bool:
        """Whether the person proved that they are reached so."""
        return self.email_verified if channel is Channel.EMAIL else self.phone_verified

    def may_reset_by(self, channel: Channel) -> bool:
        """Whether what is sent so may set a new password: by a proven address, or by any where none is proved."""
        return self.is_verified(channel) or not (self.email_verified or self.phone_verified)


_COLUMNS = """
    users.id, first_name, last_name, coalesce(email, '') AS email, coalesce(phone, '') AS phone,
    email_verified_at IS NOT NULL AS email_verified, phone_verified_at IS NOT NULL AS phone_verified,
    language, roles, users.created_at, disabled_at
"""
# Two statements and not one with OR: each uses its unique index. The words of a target are those of its channel.
_BY_TARGET = {Channel.EMAIL: "lower(email) = lower($1)", Channel.SMS: "phone = $1"}


async def add(
    conn: Connection, *, first_name: str, last_name: str, email: str, phone: str, language: str
) -> tuple[User, uuid.UUID]:
    """Make a person's account; return it and the id of the gift that they get for it.

    Raises:
        Error: USER_EXISTS, somebody has the e-mail address or the phone.
    """
    # ON CONFLICT and not an error of the constraint: the server would write the address into its log.
    row = await conn.fetchrow(
        f"""
        INSERT INTO users (first_name, last_name, email, phone, language, promo_id, search)
        VALUES ($1, $2, nullif($3, ''), nullif($4, ''), $5, $6, $7::tsvector)
            ON CONFLICT DO NOTHING
        RETURNING {_COLUMNS}, promo_id
        """,  # noqa: S608  # a constant
        first_name,
        last_name,
        email,
        phone,
        language,
        uuid.uuid4(),
        search.vector(first_name, last_name, email, phone),
    )
    if row is None:
        raise await _taken(conn, email)
    fields = dict(row)
    promo_id = fields.pop("promo_id")
    return User(**fields), promo_id


async def _taken(conn: Connection, email: str) -> Error:
    by_email = await conn.fetchval("SELECT true FROM users WHERE lower(email) = lower($1)", email)
    field = "email" if by_email else "phone"
    return USER_EXISTS(f"there is an account with this {field}", field=field)


async def add_with_ids(conn: Connection, contacts: Sequence[events_pb2.Contact]) -> list[User]:
    """Make accounts without a password, under the ids that they bring; return those made.

    Whose id, e-mail address or phone is taken is left out. Later ids are above these. The table is locked.
    """
    rows = await conn.fetch(
        f"""
        INSERT INTO users (id, first_name, last_name, email, phone, language, search)
        SELECT id, first_name, last_name, nullif(email, ''), nullif(phone, ''), language, search::tsvector
          FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
               AS wanted (id, first_name, last_name, email, phone, language, search)
         ORDER BY id
            ON CONFLICT DO NOTHING
        RETURNING {_COLUMNS}
        """,  # noqa: S608  # a constant
        [contact.user_id for contact in contacts],
        [contact.first_name for contact in contacts],
        [contact.last_name for contact in contacts],
        [contact.email for contact in contacts],
        [contact.phone for contact in contacts],
        [contact.language or "ru" for contact in contacts],
        [search.vector(contact.first_name, contact.last_name, contact.email, contact.phone) for contact in contacts],
    )
    await conn.execute(
        """
        SELECT setval('users_id_seq', max(users.id))
          FROM users, users_id_seq
        HAVING max(users.id) >= max(users_id_seq.last_value)
        """
    )
    return [User(**row) for row in rows]


async def lock(conn: Connection, user_id: int) -> User:
    """Read a person, whom nobody else changes until the transaction ends.

    Raises:
        Error: USER_NOT_FOUND.
    """
    locked = await lock_all(conn, [user_id])
    if not locked:
        raise not_found(user_id)
    return locked[0]


async def lock_all(conn: Connection, user_ids: Sequence[int]) -> list[User]:
    """Read those of these people that there are, whom nobody else changes until the transaction ends."""
    # In order of ids: two administrators who judge each other wait, and do not deadlock.
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM users
         WHERE id = ANY($1)
         ORDER BY id
           FOR NO KEY UPDATE
        """,  # noqa: S608  # a constant
        user_ids,
    )
    return [User(**row) for row in rows]


async def get(conn: Connection, user_id: int) -> User:
    """Read a person.

    Raises:
        Error: USER_NOT_FOUND.
    """
    row = await conn.fetchrow(f"SELECT {_COLUMNS} FROM users WHERE id = $1", user_id)  # noqa: S608  # a constant
    if row is None:
        raise not_found(user_id)
    return User(**row)


async def lock_by_target(conn: Connection, target: Target) -> User | None:
    """Read whose an address is, and lock them; None where nobody has it, or one who is shut out."""
    row = await conn.fetchrow(
        f"""
        SELECT {_COLUMNS}
          FROM users
         WHERE {_BY_TARGET[target.channel]}
           AND disabled_at IS NULL
           FOR NO KEY UPDATE
        """,  # noqa: S608  # constants
        target.address,
    )
    return User(**row) if row else None


async def id_by_target(conn: Connection, target: Target) -> int | None:
    """Whose an address is, also of one who is shut out."""
    id_: int | None = await conn.fetchval(
        f"SELECT id FROM users WHERE {_BY_TARGET[target.channel]}",  # noqa: S608  # constants
        target.address,
    )
    return id_


async def change(conn: Connection, user: User, *, first_name: str, last_name: str, language: str) -> User:
    """Change a person, who is locked, and tell the shop."""
    row = await conn.fetchrow(
        f"""
        UPDATE users
           SET first_name = $2,
               last_name = $3,
               language = $4,
               search = $5::tsvector
         WHERE id = $1
        RETURNING {_COLUMNS}
        """,  # noqa: S608  # a constant
        user.id,
        first_name,
        last_name,
        language,
        search.vector(first_name, last_name, user.email, user.phone),
    )
    assert row is not None, "locked"
    changed = User(**row)
    await tell_contacts(conn, [changed])
    return changed


async def keep_only(conn: Connection, user: User, channel: Channel) -> User:
    """Take a person's other address off, and tell the shop; the person is locked and has this one."""
    if len(user.targets) == 1:
        return user
    email, phone = (user.email, "") if channel is Channel.EMAIL else ("", user.phone)
    row = await conn.fetchrow(
        f"""
        UPDATE users
           SET email = nullif($2, ''),
               phone = nullif($3, ''),
               search = $4::tsvector
         WHERE id = $1
        RETURNING {_COLUMNS}
        """,  # noqa: S608  # a constant
        user.id,
        email,
        phone,
        search.vector(user.first_name, user.last_name, email, phone),
    )
    assert row is not None, "locked"
    changed = User(**row)
    await tell_contacts(conn, [changed])
    return changed


async def verify(conn: Connection, user: User, channel: Channel) -> None:
    """Note that the person, who is locked, is reached so."""
    await conn.execute(
        """
        UPDATE users
           SET email_verified_at = CASE $2 WHEN 'email' THEN coalesce(email_verified_at, clock_timestamp())
                                           ELSE email_verified_at END,
               phone_verified_at = CASE $2 WHEN 'sms' THEN coalesce(phone_verified_at, clock_timestamp())
                                           ELSE phone_verified_at END
         WHERE id = $1
        """,
        user.id,
        channel,
    )


async def disable(conn: Connection, user_id: int, reason: str) -> None:
    """Shut a person out, whose row is locked; of one who is already, nothing changes."""
    await conn.execute(
        """
        UPDATE users
           SET disabled_at = clock_timestamp(),
               disabled_reason = $2
         WHERE id = $1
           AND disabled_at IS NULL
        """,
        user_id,
        reason,
    )


async def enable(conn: Connection, user_id: int) -> None:
    """Let a person in again, whose row is locked."""
    await conn.execute("UPDATE users SET disabled_at = NULL, disabled_reason = '' WHERE id = $1", user_id)


async def set_roles(conn: Connection, user_id: int, roles: Sequence[str]) -> None:
    """Give a person, whose row is locked, these roles and no others."""
    await conn.execute("UPDATE users SET roles = $2 WHERE id = $1", user_id, roles)


async def newest(
    conn: Connection, *, query: str, role: str | None, is_disabled: bool | None, before: int | None, limit: int
) -> list[User]:
    """Search people, the newest first: by words that names, e-mail or phone begin with, all of them, or by an id.

    In a transaction of the caller's.
    """
    # Planned for these words: of rare ones the index of words is read, of frequent ones the newest people.
    await conn.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    rows = await conn.fetch(
        f"""
        SELECT {_COLUMNS}
          FROM users
         WHERE ($1::tsquery IS NULL OR search @@ $1::tsquery OR id = $2)
           AND ($3::text IS NULL OR $3 = ANY(roles))
           AND ($4::bool IS NULL OR $4 = (disabled_at IS NOT NULL))
           AND ($5::bigint IS NULL OR id < $5)
         ORDER BY id DESC
         LIMIT $6
        """,  # noqa: S608  # a constant
        search.prefixes(query),
        search.user_id(query),
        role,
        is_disabled,
        before,
        limit,
    )
    return [User(**row) for row in rows]


async def tell_contacts(conn: Connection, people: Sequence[User]) -> None:
    """Publish how these people, who are locked, are reached."""
    contacts = [
        events_pb2.Contact(
            username=str(user.id),
            first_name=user.first_name,
            last_name=user.last_name,
            email=user.email,
            phone=user.phone,
            user_id=user.id,
            language=user.language,
        )
        for user in people
    ]
    await outbox.append_many(conn, CONTACT_TOPIC, [(contact.username, contact) for contact in contacts])


async def tell_registration(conn: Connection, user: User, promo_id: uuid.UUID, channel: Channel) -> None:
    """Publish that a person, who is locked, is to be welcomed this way."""
    event = events_pb2.Registration(
        type=channel,
        user_phone=user.phone if channel is Channel.SMS else "",
        user_email=user.email if channel is Channel.EMAIL else "",
        promo_id=str(promo_id),
    )
    await outbox.append_many(conn, REGISTRATION_TOPIC, [(str(user.id), event)])


async def figures(conn: Connection) -> dict[str, float]:
    """How many people there are, and how many of them are shut out."""
    row = await conn.fetchrow("SELECT count(*) AS users, count(disabled_at) AS users_disabled FROM users")
    return dict(row or {})


def not_found(user_id: int) -> Error:
    """What is said of an account that does not exist."""
    return USER_NOT_FOUND(f"there is no user {user_id}", user_id=user_id)
