"""`python -m deploy.docker.health grpc|http HOST:PORT`: fail unless it answers, by the native stack's own probes."""

import asyncio
import sys

from deploy.native import health
from deploy.native.process import Probe

PROBES = {"grpc": health.grpc_serving, "http": health.http_ok}


def main() -> None:
    """Ask once; say what is wrong in one line."""
    kind, address = sys.argv[1:]
    try:
        asyncio.run(_ask(PROBES[kind](address)))
    except Exception as error:  # whatever it is, the container is not healthy
        sys.exit(f"{type(error).__name__}: {error}")


async def _ask(probe: Probe) -> None:
    await probe()


if __name__ == "__main__":
    main()
