"""Migrations: plain SQL, forward only, applied by dbmate. kit's own tables come first."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

KIT = Path(__file__).parent / "migrations"


async def apply(url: str, migrations: Path, *, password: str | None = None) -> None:
    """Bring a database up to date.

    Raises:
        RuntimeError: dbmate refused; its words are the message.
    """
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "dbmate"),
        "--migrations-dir", str(KIT),
        "--migrations-dir", str(migrations),
        "--no-dump-schema",
        "--migration-lock",
        "migrate",
        env={**os.environ, "DATABASE_URL": _for_dbmate(url, password)},  # not an argument: those show in process lists
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(output.decode(errors="replace").strip())


async def missing(conn: asyncpg.Connection, migrations: Path) -> Sequence[str]:
    """Versions that the code knows and the database has not."""
    if not await conn.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        applied = set()
    else:
        applied = {row["version"] for row in await conn.fetch("SELECT version FROM schema_migrations")}
    known = {path.name.split("_")[0] for folder in (KIT, migrations) for path in folder.glob("*.sql")}
    return sorted(known - applied)


def _for_dbmate(url: str, password: str | None) -> str:
    """The URL with the password in it; a local server speaks no TLS, which dbmate would insist on."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if password is not None:
        user, _, host = parts.netloc.rpartition("@")
        netloc = f"{user.split(':')[0]}:{quote(password, safe='')}@{host}"
    query = parts.query or "sslmode=prefer"
    return urlunsplit(parts._replace(netloc=netloc, query=query))
