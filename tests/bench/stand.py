"""Where benchmarks run: one PostgreSQL and one Kafka, and for each run a fresh database, a fresh topic, a fresh loms.

What a run cost is read before and after it: CPU of each program with all of its processes, also those that ended
meanwhile; WAL, commits. After each run the books are audited.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import asyncpg
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from deploy.native import broker, keys, stack
from deploy.native.parts import TOPICS
from kit.testing import until
from tests.audit import TOPIC, audit, audit_topic
from tests.bench.generator import Generator, calling
from tests.bench.goods import fill
from tests.bench.traffic import Traffic
from tests.stacks import running

GOODS = "goods"  # the first template, of which the others are made
QUIET_WITHIN_S = 120.0
WAL_MB = 1000


@dataclass(frozen=True)
class Used:
    """What was used so far, or between two looks: CPU in seconds by program, WAL bytes, commits."""

    cpu_s: Mapping[str, float]
    wal_bytes: int
    commits: int

    def since(self, before: "Used") -> "Used":
        """The difference."""
        return Used(
            {name: seconds - before.cpu_s.get(name, 0.0) for name, seconds in self.cpu_s.items()},
            self.wal_bytes - before.wal_bytes,
            self.commits - before.commits,
        )


class Run:
    """One loms on its own data."""

    def __init__(self, shop: stack.Shop, address: str, pids: Mapping[str, int], conn: asyncpg.Connection, token: str):
        self.shop = shop
        self.address = address
        self.conn = conn
        self.orders_before = self.changes_before = 0  # filled in, not made by this run
        self._pids = pids
        self._token = token

    @contextlib.asynccontextmanager
    async def callers(self, traffic: Traffic, *, connections: int = 4) -> AsyncIterator[Generator]:
        """Callers of this loms."""
        async with calling(self.address, self._token, traffic, connections=connections) as generator:
            yield generator

    async def used(self) -> Used:
        """What was used so far."""
        # Sessions report their commits when they are idle, at most once a second.
        row = await self.conn.fetchrow(
            """
            SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS wal_bytes, xact_commit
              FROM pg_stat_database
             WHERE datname = current_database()
            """
        )
        assert row
        return Used(cpu_s(self._pids), int(row["wal_bytes"]), row["xact_commit"])

    async def quiet(self) -> None:
        """Wait until all events are published."""
        await until(lambda: self.conn.fetchval(_WAITING), 0, within_s=QUIET_WITHIN_S)

    async def audited(self, orders_ok: int, *, uncertain: int = 0) -> None:
        """Check the books when all is quiet: nothing oversold, leaked, stuck or lost.

        Args:
            orders_ok: that callers were told of.
            uncertain: calls that were not answered; each may have made an order.
        """
        await self.quiet()
        await audit(self.conn)
        if not self.changes_before:
            await audit_topic(self.conn, self.shop.kafka)
        else:  # what was filled in has no events
            changes = await self.conn.fetchval("SELECT count(*) FROM order_history") - self.changes_before
            assert changes <= sum(await self.offsets()), "events are missing"
        orders = await self.conn.fetchval("SELECT count(*) FROM orders") - self.orders_before
        assert orders_ok <= orders <= orders_ok + uncertain, f"{orders_ok} answers, {orders} orders"

    async def offsets(self) -> list[int]:
        """How many events each partition of the topic has."""
        async with broker_consumer(self.shop.kafka) as consumer:
            partitions = [TopicPartition(TOPIC, number) for number in range(TOPICS[TOPIC])]
            return list((await consumer.end_offsets(partitions)).values())


@contextlib.asynccontextmanager
async def broker_consumer(kafka: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of no topic and no group."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


_WAITING = "SELECT count(*) FROM outbox"


class Stand:
    """One PostgreSQL, one Kafka."""

    def __init__(self, shop: stack.Shop, admin: asyncpg.Connection):
        self.shop = shop
        self.admin = admin
        self.token = keys.local_token(shop.home)
        self._numbers = 0

    @contextlib.asynccontextmanager
    async def database(self, template: str = GOODS) -> AsyncIterator[asyncpg.Connection]:
        """A fresh copy of a template, as the database of loms; gives a superuser's connection to it."""
        await self.admin.execute("DROP DATABASE IF EXISTS loms WITH (FORCE)")
        await self.admin.execute(f'CREATE DATABASE loms TEMPLATE "{template}" STRATEGY file_copy OWNER loms')
        await self.admin.execute("CHECKPOINT")  # each run pays for its own pages
        conn = await self.connect("loms")
        try:
            yield conn
        finally:
            await conn.close()

    async def connect(self, database: str) -> asyncpg.Connection:
        """A superuser's connection to a database."""
        return await asyncpg.connect(f"{self.shop.admin_url.rpartition('/')[0]}/{database}", ssl=False)

    @contextlib.asynccontextmanager
    async def loms(self, template: str = GOODS, **settings: str | int) -> AsyncIterator[Run]:
        """A loms on a fresh copy of a template, with these settings (`door="pyvoy"` is LOMS_DOOR=pyvoy)."""
        await self._fresh_topic()
        async with self.database(template) as conn:
            self._numbers += 1
            name = f"loms-{self._numbers}"
            env = {f"LOMS_{key.upper()}": str(value) for key, value in settings.items()}
            before = await conn.fetchrow(
                "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_history)", timeout=None
            )
            process = await self.shop.start_replica("loms", name=name, env=env)
            try:
                pids = {part: self.shop[part].pid for part in ("postgres", "kafka")} | {"loms": process.pid}
                run = Run(self.shop, self.shop.address(name), pids, conn, self.token)
                run.orders_before, run.changes_before = before or (0, 0)
                yield run
            finally:
                await process.stop()

    async def template(self, name: str, change: Callable[[asyncpg.Connection], Awaitable[None]]) -> str:
        """Make a template out of GOODS, changed so, unless it is there; return its name."""
        if not await self.admin.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
            await self.admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{GOODS}" STRATEGY file_copy OWNER loms')
            conn = await self.connect(name)
            try:
                await change(conn)
            finally:
                await conn.close()
        return name

    async def _fresh_topic(self) -> None:
        async with broker.admin(self.shop.kafka) as client:
            with contextlib.suppress(UnknownTopicOrPartitionError):
                await client.delete_topics([TOPIC])

            async def names() -> bool:
                return TOPIC in await client.list_topics()

            await until(names, False)
        await broker.make_topics(self.shop.kafka, {TOPIC: TOPICS[TOPIC]})


@contextlib.asynccontextmanager
async def standing() -> AsyncIterator[Stand]:
    """A stand with the template GOODS."""
    async with running("kafka", "loms-migrate") as shop:
        admin = await asyncpg.connect(shop.admin_url, ssl=False)
        try:
            stand = Stand(shop, admin)
            await admin.execute(f'ALTER DATABASE loms RENAME TO "{GOODS}"')
            conn = await stand.connect(GOODS)
            await fill(conn)
            await conn.close()
            await _age(admin)
            yield stand
        finally:
            await admin.close()


async def _age(admin: asyncpg.Connection) -> None:
    """Write as much WAL as a run does.

    A database that is some hours old writes over the files of before. A new one makes each when it is needed, and all
    commits wait for it.
    """
    await admin.execute(
        "SELECT pg_logical_emit_message(false, 'age', repeat('x', 1000000)) FROM generate_series(1, $1::int)",
        WAL_MB,
        timeout=120,
    )
    await admin.execute("CHECKPOINT")


def cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds of programs by name: of each process, its descendants, and those that have ended."""
    return {name: _cpu_s_of(pid) for name, pid in pids.items()}


def _cpu_s_of(pid: int) -> float:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(one.cpu_times()[:4])  # user, system, and both of children that have ended
    return total
