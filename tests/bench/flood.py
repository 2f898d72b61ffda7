"""`python -m tests.bench.flood HOST:PORT LOGINS_PER_S SECONDS`: a flood of wrong logins; prints what they were told.

A process of its own: who measures the orders beside it must not be busy with it.
"""

import argparse
import asyncio
import itertools
import json

import grpc

from abacus.identity.v1 import identity_pb2, identity_pb2_grpc
from tests.bench.load import paced


async def flood(address: str, per_s: float, seconds: float) -> dict[str, int]:
    """Guess, each time at another account; return how many were told what."""
    numbers = itertools.count(1)
    async with grpc.aio.insecure_channel(address) as channel:
        identity = identity_pb2_grpc.IdentityServiceStub(channel)

        async def guess() -> None:
            email = f"nobody{next(numbers)}@mail.example"
            request = identity_pb2.LoginByEmailRequest(email=email, password="not the right one")
            await identity.LoginByEmail(request)

        return dict((await paced(guess, per_s=per_s, seconds=seconds)).refused)


def main() -> None:
    """Flood, and say what came back."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.flood")
    parser.add_argument("address")
    parser.add_argument("per_s", type=float)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    print("flooding", flush=True)
    print(json.dumps(asyncio.run(flood(given.address, given.per_s, given.seconds))))


if __name__ == "__main__":
    main()
