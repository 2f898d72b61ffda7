"""What the machine gives at best, in the same run: one call of a function for one order, a commit, bare doors."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from statistics import median

import asyncpg

from deploy.native import postgres, stack
from deploy.native.parts import REPO
from tests.audit import audit
from tests.bench.callers import percentiles_ms
from tests.bench.generator import CALLERS, CONNECTIONS, calling
from tests.bench.goods import SKUS
from tests.bench.stand import GOODS, Stand
from tests.bench.traffic import PATHS, Source, Traffic

CHECKS = 3  # of our callers against another's, in turn
ONE_ORDER = Path(__file__).with_name("one_order.sql")
# Three different skus in ascending order, all alike: each next one lies within a third of the circle.
_UNIFORM = rf"""
\set a random(1, {SKUS})
\set b 1 + (:a + random(0, {SKUS // 3 - 1})) % {SKUS}
\set c 1 + (:b + random(0, {SKUS // 3 - 1})) % {SKUS}
\set low least(:a, :b, :c)
\set high greatest(:a, :b, :c)
\set middle :a + :b + :c - :low - :high
\set user random(1, 1000000)
\set request random(1, 9223372036854775806)
SELECT one_order(:user, 'bench-' || :client_id || '-' || :request, ARRAY[:low, :middle, :high]::bigint[])
"""
_HOT = r"""
\set user random(1, 1000000)
\set request random(1, 9223372036854775806)
SELECT one_order(:user, 'bench-' || :client_id || '-' || :request, ARRAY[1]::bigint[])
"""


async def one_order(
    stand: Stand, seconds: float, concurrencies: Sequence[int], *, hot: bool, template: str = GOODS
) -> dict[str, float]:
    """pgbench calling the function of one_order.sql, each concurrency on fresh data; the best of them."""
    found: dict[int, float] = {}
    for clients in concurrencies:
        async with stand.database(template) as conn:
            await conn.execute(ONE_ORDER.read_text())
            found[clients] = await _pgbench(stand.shop, _HOT if hot else _UNIFORM, clients, seconds)
            await audit(conn)
    best = max(found, key=found.__getitem__)
    return {"per_s": found[best], "clients": best} | {f"per_s_at_{clients}": per_s for clients, per_s in found.items()}


async def _pgbench(shop: stack.Shop, script: str, clients: int, seconds: float) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            str(postgres.folder() / "bin" / "pgbench"),
            "--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=1", f"--time={max(1, round(seconds))}",
            "--max-tries=1000", f"--file={file.name}", f"{shop.admin_url.rpartition('/')[0]}/loms",
            env={**os.environ, "PGOPTIONS": "-c plan_cache_mode=force_generic_plan"},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told = (await process.communicate())[0].decode()
    failed = re.search(r"number of failed transactions: (\d+)", told)
    per_s = re.search(r"tps = ([\d.]+)", told)
    if process.returncode or not per_s or not failed or int(failed[1]):
        raise RuntimeError(f"pgbench: {told}")
    return float(per_s[1])


async def one_commit(stand: Stand, count: int = 500) -> dict[str, float]:
    """How long one INSERT of one row with its commit takes, when nobody else writes."""
    conn: asyncpg.Connection = await stand.connect("postgres")
    try:
        await conn.execute("CREATE TABLE IF NOT EXISTS commits (n bigint)")
        insert = await conn.prepare("INSERT INTO commits VALUES ($1)")
        lags = []
        for number in range(count):
            started = time.perf_counter()
            await insert.fetch(number)
            lags.append(time.perf_counter() - started)
        await conn.execute("DROP TABLE commits")
    finally:
        await conn.close()
    return {f"{name}_ms": lag for name, lag in percentiles_ms(lags[count // 10 :]).items()}


@contextlib.asynccontextmanager
async def echoing(door: str) -> AsyncIterator[str]:
    """A bare server that answers the same bytes to all, by "grpcio" or "pyvoy"; gives host:port."""
    port = stack.free_ports(["echo"])["echo"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.echo", door, str(port),
        cwd=REPO, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # grpc.aio tells there of each call that is cut off at the end
    )  # fmt: skip
    try:
        assert process.stdin
        assert process.stdout
        assert b"listening\n" == await process.stdout.readline()
        yield f"127.0.0.1:{port}"
    finally:
        assert process.stdin
        process.stdin.close()  # ends it, and what it started
        await process.wait()


async def echo(door: str, seconds: float, warm_s: float, *, per_s: float = 0.0) -> dict[str, float]:
    """Calls a second through a bare door, or with per_s the lags at that rate."""
    async with echoing(door) as address, calling(address, "x" * 300, Traffic(kind="fixed")) as callers:
        await callers.closed(warm_s)
        load = await (callers.paced(seconds, per_s=per_s) if per_s else callers.closed(seconds))
    assert not load.refused, load.refused
    return {"per_s": load.per_s, "cpu_us_callers": load.cpu_s / load.ok * 1e6, "p99_ms": load.lag_ms["p99"]}


async def check_callers(seconds: float, warm_s: float) -> dict[str, float]:
    """The same bytes to the same echo by our callers and by h2load, which is none of ours; {} where there is none."""
    h2load = shutil.which("h2load")
    if not h2load:
        return {}
    ours, theirs = [], []
    async with echoing("grpcio") as address, calling(address, "x" * 300, Traffic(kind="fixed")) as callers:
        await callers.closed(warm_s)
        for _ in range(CHECKS):
            ours.append((await callers.closed(seconds)).per_s)
            theirs.append(await _h2load(h2load, address, seconds))
    return {"ours_per_s": median(ours), "h2load_per_s": median(theirs)}


async def _h2load(program: str, address: str, seconds: float) -> float:
    with tempfile.NamedTemporaryFile() as file:
        _, body = Source(Traffic(kind="fixed")).next()
        file.write(b"\0" + len(body).to_bytes(4, "big") + body)
        file.flush()
        process = await asyncio.create_subprocess_exec(
            program, f"--clients={CONNECTIONS}", f"--max-concurrent-streams={CALLERS // CONNECTIONS}",
            f"--duration={max(1, round(seconds))}", f"--data={file.name}",
            "--header=content-type: application/grpc", "--header=te: trailers",
            f"--header=authorization: Bearer {'x' * 300}", f"http://{address}{PATHS[0]}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told = (await process.communicate())[0].decode()
    per_s = re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", told)
    if not per_s:
        raise RuntimeError(f"h2load: {told}")
    return float(per_s[1])
