"""The whole shop with its seed goods behind its own door, whose limits let a flood of tries through."""

from collections.abc import AsyncIterator

import pytest

from deploy.native import stack
from tests.access.people import NO_LIMITS
from tests.stacks import running

LIMITS = NO_LIMITS | {
    "GATEWAY_CALLS_PER_S": "1000000",
    "GATEWAY_SIGNIN_PER_S": "1000000",
    "GATEWAY_SIGNIN_BURST": "1000000",
}


@pytest.fixture(scope="session")
async def seeded() -> AsyncIterator[stack.Shop]:
    """A running shop as `make run-all` starts it, but for its limits."""
    async with running(without=(), env=LIMITS) as shop:
        yield shop
