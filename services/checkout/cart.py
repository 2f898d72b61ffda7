"""Carts: what a user means to buy. Owns the tables carts and cart_lines."""

from collections.abc import Mapping

from checkout.errors import NOT_IN_CART, OUT_OF_STOCK, TOO_MANY_POSITIONS, TOO_MANY_UNITS
from kit.db import Connection

UNITS_MAX = 65535  # of one sku


async def lock(conn: Connection, user: int) -> None:
    """Lock the user's cart until the transaction ends; every change of its lines, and of its purchases, does so."""
    await conn.execute(
        """
        INSERT INTO carts (user_id)
        VALUES ($1)
            ON CONFLICT (user_id) DO UPDATE
           SET changed_at = clock_timestamp()
        """,
        user,
    )


async def lines(conn: Connection, user: int) -> dict[int, int]:
    """Read the units in the cart by sku, in the order in which they were first put in."""
    rows = await conn.fetch(
        """
        SELECT sku, count
          FROM cart_lines
         WHERE user_id = $1
         ORDER BY added_at, sku
        """,
        user,
    )
    return {row["sku"]: row["count"] for row in rows}


async def add(conn: Connection, user: int, sku: int, count: int, *, available: int, positions_max: int) -> None:
    """Put units into the cart in the caller's transaction.

    Args:
        available: units that LOMS would sell; what the cart would then hold is measured against it.

    Raises:
        Error: OUT_OF_STOCK, TOO_MANY_UNITS, TOO_MANY_POSITIONS.
    """
    await lock(conn, user)
    held = await lines(conn, user)
    wanted = held.get(sku, 0) + count
    # What no delivery to the warehouse would heal comes first.
    if wanted > UNITS_MAX:
        raise TOO_MANY_UNITS(f"sku {sku}: {wanted} units, at most {UNITS_MAX} in a cart", sku=sku, wanted=wanted)
    if sku not in held and len(held) >= positions_max:
        raise TOO_MANY_POSITIONS(f"at most {positions_max} positions in a cart", limit=positions_max)
    if wanted > available:
        raise OUT_OF_STOCK(
            f"sku {sku}: {wanted} units wanted, {available} available", sku=sku, wanted=wanted, available=available
        )
    await conn.execute(
        """
        INSERT INTO cart_lines (user_id, sku, count)
        VALUES ($1, $2, $3)
            ON CONFLICT (user_id, sku) DO UPDATE
           SET count = excluded.count
        """,
        user,
        sku,
        wanted,
    )


async def remove(conn: Connection, user: int, sku: int, count: int) -> None:
    """Take units out of the cart, up to what is there, in the caller's transaction.

    Raises:
        Error: NOT_IN_CART.
    """
    await lock(conn, user)
    if not await take_many(conn, user, {sku: count}):
        raise NOT_IN_CART(f"sku {sku} is not in the cart", sku=sku)


async def take_many(conn: Connection, user: int, units: Mapping[int, int]) -> int:
    """Take these units (by sku) out of a locked cart, of each up to what is there; return how many skus were there."""
    rows = await conn.fetch(
        """
        WITH wanted AS (
            SELECT sku, count
              FROM unnest($2::bigint[], $3::integer[]) AS wanted (sku, count)
        ), emptied AS (
            DELETE FROM cart_lines
             USING wanted
             WHERE cart_lines.user_id = $1
               AND cart_lines.sku = wanted.sku
               AND cart_lines.count <= wanted.count
            RETURNING cart_lines.sku
        ), lessened AS (
            UPDATE cart_lines
               SET count = cart_lines.count - wanted.count
              FROM wanted
             WHERE cart_lines.user_id = $1
               AND cart_lines.sku = wanted.sku
               AND cart_lines.count > wanted.count
            RETURNING cart_lines.sku
        )
        SELECT sku FROM emptied
         UNION ALL
        SELECT sku FROM lessened
        """,
        user,
        list(units.keys()),
        list(units.values()),
    )
    return len(rows)
