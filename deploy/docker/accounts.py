"""`python -m deploy.docker.accounts HOST:PORT`: one login and one database a service, as in the native stack.

Passwords are the files in /run/secrets, where Compose mounts them. May be run again: nothing changes.
"""

import asyncio
import sys
from pathlib import Path

from deploy.native import postgres
from deploy.native.parts import SERVICES

HOME = Path("/run")  # its folder `secrets` is laid out as a native home's


async def make(address: str, home: Path = HOME) -> None:
    """Make what is missing in the server at host:port; set every password to that of its file.

    Raises:
        asyncpg.PostgresError: the superuser's password is not that of its file: the data is older than the secrets.
    """
    password = postgres.password_file(home, "postgres").read_text()
    await postgres.make_accounts(home, f"postgresql://postgres:{password}@{address}/postgres", SERVICES)


if __name__ == "__main__":
    asyncio.run(make(sys.argv[1]))
    print(f"accounts: {', '.join(SERVICES)}")
