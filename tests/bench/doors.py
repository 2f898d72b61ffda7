"""What the doors cost: a call through Envoy against the same call on gRPC, and orders while logins are flooded.

`make bench` runs all of it and prints the figures; `python -m tests.bench.doors --seconds 2` is a short look. Each pair
is measured in turn, several times, in one run: machines are noisy, and only the ratios mean something.
"""

import argparse
import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import median

import aiohttp

from abacus.checkout.v1 import checkout_pb2
from abacus.identity.v1 import identity_pb2
from abacus.loms.v1 import loms_pb2
from deploy.native import stack
from deploy.native.parts import REPO
from tests.access.people import lenient_identity, person
from tests.bench.load import Call, Measured, closed, paced
from tests.callers import calling, order, receipt
from tests.stacks import running

SKU = 800_001
CALLERS = 32
# Of a shop that is busy, not full: what waits then, waits because of the flood. At 100 a second the orders alone, with
# their events and messages, take four fifths of two cores.
ORDERS_PER_S = 50.0
LOGINS_PER_S = 200.0  # several times what one thread of hashing can do
TAIL_S = 0.5  # by which a flood outlasts the orders beside it
ROUNDS = 5
FLOODED_MAX = 2.0  # p99 of orders beside a flood, of that without

_users = itertools.count(800_000)


@dataclass(frozen=True)
class Figure:
    """One of two ways, and how it compares with the first of them; medians over the rounds."""

    what: str
    per_s: float
    p50_ms: float
    p99_ms: float
    refused: dict[str, int]
    beside: dict[str, int]  # what the logins were told meanwhile


Way = tuple[str, Callable[[], Awaitable[Measured]]]


async def in_turn(ways: list[Way], rounds: int) -> list[Figure]:
    """Measure each way, again and again in turn."""
    seen: dict[str, list[Measured]] = {name: [] for name, _ in ways}
    for _ in range(rounds):
        for name, measure in ways:
            seen[name].append(await measure())
    return [
        Figure(
            name,
            round(median(one.per_s for one in measured), 1),
            round(median(one.percentile_ms(50) for one in measured), 2),
            round(median(one.percentile_ms(99) for one in measured), 2),
            dict(sum((one.refused for one in measured), Counter())),
            dict(sum((one.beside for one in measured), Counter())),
        )
        for name, measured in seen.items()
    ]


async def envoy(shop: stack.Shop, seconds: float, rounds: int) -> list[Figure]:
    """The same calls on the services' own doors, through Envoy as gRPC, and as JSON."""
    ann = await person(shop, "ann")
    figures: list[Figure] = []
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(aiohttp.ClientSession(f"http://{shop.address('gateway')}"))

        async def at(service: str, door: str) -> Callable[..., Awaitable[object]]:
            return (await opened.enter_async_context(calling(service, shop.address(door), token=ann.token))).call

        async def profile() -> None:
            headers = {"authorization": f"Bearer {ann.token}"}
            async with http.get("/api/v1/users/me", headers=headers) as answer:
                answer.raise_for_status()
                await answer.json()

        def under_load(call: Call) -> Callable[[], Awaitable[Measured]]:
            return lambda: closed(call, callers=CALLERS, seconds=seconds)

        for service, method, request in (
            ("loms", "Stocks", loms_pb2.StocksRequest(sku=SKU)),
            ("checkout", "ListCart", checkout_pb2.ListCartRequest(user=ann.user)),
            ("identity", "GetMe", identity_pb2.GetMeRequest()),
        ):
            directly, by_envoy = await at(service, service), await at(service, "gateway")
            ways: list[Way] = [
                (f"{method}, gRPC", under_load(lambda call=directly, what=(method, request): call(*what))),
                (
                    f"{method}, gRPC through Envoy",
                    under_load(lambda call=by_envoy, what=(method, request): call(*what)),
                ),
            ]
            if method == "GetMe":
                ways.append((f"{method}, JSON through Envoy", under_load(profile)))
            figures += await in_turn(ways, rounds)
    return figures


async def flood(shop: stack.Shop, seconds: float, rounds: int) -> list[Figure]:
    """CreateOrder at a steady pace: alone, beside a flood of logins at the gateway, beside one that no limit holds."""
    unlimited = await lenient_identity(shop)
    figures: list[Figure] = []
    async with calling("loms", shop.address("loms")) as loms:

        async def buy() -> None:
            await loms.call("CreateOrder", order(next(_users), (SKU, 1)))

        def beside(flooded: str) -> Callable[[], Awaitable[Measured]]:
            async def measure() -> Measured:
                if not flooded:
                    return await paced(buy, per_s=ORDERS_PER_S, seconds=seconds)
                arguments = (flooded, str(LOGINS_PER_S), str(seconds + TAIL_S))
                logins = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.bench.flood", *arguments, cwd=REPO, stdout=asyncio.subprocess.PIPE
                )
                assert logins.stdout
                await logins.stdout.readline()  # it begins
                measured = await paced(buy, per_s=ORDERS_PER_S, seconds=seconds)
                told, _ = await logins.communicate()
                measured.beside = Counter(json.loads(told))
                return measured

            return measure

        figures += await in_turn(
            [
                ("CreateOrder", beside("")),
                ("CreateOrder beside a flood of logins at the gateway", beside(shop.address("gateway"))),
                ("CreateOrder beside a flood of logins without limits", beside(unlimited)),
            ],
            rounds,
        )
    await shop["identity-lenient"].stop()
    return figures


async def measure(seconds: float, rounds: int) -> list[Figure]:
    """Both, on a stack of its own."""
    async with running() as shop:
        async with calling("loms", shop.address("loms")) as loms:
            await loms.call("ReceiveStock", receipt(SKU, 1_000_000))
            for _ in range(200):  # connections are open, statements planned
                await loms.call("CreateOrder", order(next(_users), (SKU, 1)))
        return [*await envoy(shop, seconds, rounds), *await flood(shop, seconds, rounds)]


def main() -> None:
    """Print the figures, one JSON object a line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.doors", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each pair, in turn")
    given = parser.parse_args()
    figures = asyncio.run(measure(given.seconds, given.rounds))
    for figure in figures:
        print(json.dumps(asdict(figure)))
    alone, *flooded = (figure for figure in figures if figure.what.startswith("CreateOrder"))
    for figure in flooded:
        ratio = figure.p99_ms / alone.p99_ms
        print(f"{figure.what}: p99 is {ratio:.2f} of that alone, at most {FLOODED_MAX:g}")
        if ratio > FLOODED_MAX:
            sys.exit(1)


if __name__ == "__main__":
    main()
