"""Stacks for the tests across services, with their own ports, data and goods."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from deploy.native import home, stack
from deploy.native.parts import SEEDS

_up: list[stack.Shop] = []


@asynccontextmanager
async def running(*parts: str, without: Collection[str] = SEEDS, **more: Any) -> AsyncIterator[stack.Shop]:
    """A stack of these parts (none named: all) and what they need, in a folder that is removed."""
    with home.scratch_home() as folder:
        async with stack.running(folder, parts=parts or None, without=without, **more) as shop:
            _up.append(shop)
            try:
                yield shop
            finally:
                _up.remove(shop)


def shop_at(address: str) -> stack.Shop:
    """The stack that has this address."""
    return next(shop for shop in _up for name in shop.ports if shop.address(name) == address)


def errors_logged(most: int = 30) -> str:
    """The last errors in the logs of the stacks that run now; for the report of a failed test."""
    lines = [
        f"{log.name}: {line[:3000]}"
        for shop in _up
        for log in sorted((shop.home / "logs").glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
        if '"level": "error"' in line or "PANIC:" in line or "Traceback" in line
    ]
    return "\n".join(lines[-most:])


@asynccontextmanager
async def database(shop: stack.Shop, service: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a service's database."""
    conn = await asyncpg.connect(shop.database_url(service), ssl=False)
    try:
        yield conn
    finally:
        await conn.close()
