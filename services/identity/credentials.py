"""Hashes of passwords. Owns the table credentials."""

from kit.db import Connection


async def password_hash(conn: Connection, user_id: int | None) -> str | None:
    """The hash of a person's password; None where there is no such person, or they have none."""
    found: str | None = await conn.fetchval("SELECT password_hash FROM credentials WHERE user_id = $1", user_id)
    return found


async def keep(conn: Connection, user_id: int, password_hash: str) -> None:
    """Set the hash of a person's password; the person is locked."""
    await conn.execute(
        """
        INSERT INTO credentials (user_id, password_hash)
        VALUES ($1, $2)
            ON CONFLICT (user_id) DO UPDATE
           SET password_hash = excluded.password_hash,
               changed_at = clock_timestamp()
        """,
        user_id,
        password_hash,
    )
