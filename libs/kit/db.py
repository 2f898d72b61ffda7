"""The database of a service: one pool with bounded waits, one way to run a transaction."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import asyncpg
import structlog
import tenacity
from asyncpg.pool import PoolConnectionProxy

from kit import migrate
from kit.settings import DatabaseSettings

log = structlog.get_logger()

# Pool connections and plain ones run the same statements.
Connection = asyncpg.Connection | PoolConnectionProxy

CONNECT_TIMEOUT_S = 3.0
STATEMENT_TIMEOUT_S = 4.0

_ARGUMENT = re.compile(r"\$(\d+)")

_LIMITS = {
    # A stuck client must not freeze hot rows, a stuck server must not freeze callers.
    "statement_timeout": f"{int(STATEMENT_TIMEOUT_S * 1000)}ms",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_PLANS = {
    # Prepared statements over unnest() are re-planned under `auto`, and badly.
    "plan_cache_mode": "force_generic_plan",
    # What a statement names it finds by keys, in the order given. A plan made while a table is small would read all of
    # it instead, for as long as it is kept, and lock rows in the order in which they lie: two such meet as a deadlock.
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
}


class Part(NamedTuple):
    """An INSERT, UPDATE or DELETE with its arguments, to be run with others as one statement: see `write`."""

    sql: str
    args: Sequence[object]


async def write(conn: Connection, *parts: Part) -> None:
    """Run parts as one statement: each noun writes its own tables, and all of them cost one round trip.

    They see the data as it was before the first of them, and run in no particular order. Outside of a transaction
    they are one themselves.
    """
    await conn.execute(_joined(*(part.sql for part in parts)), *(arg for part in parts for arg in part.args))


@lru_cache
def _joined(*statements: str) -> str:
    named, arguments = [], 0
    for number, sql in enumerate(statements):
        named.append(f"part_{number} AS ({_ARGUMENT.sub(partial(_shifted, arguments), sql)})")
        arguments += max(map(int, _ARGUMENT.findall(sql)))
    return f"WITH {', '.join(named)} SELECT"


def _shifted(by: int, argument: re.Match[str]) -> str:
    return f"${int(argument[1]) + by}"


# What says "not now" and not "never": the server is away, starting, full, or too slow.
_UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a server that died while asyncpg was reading its last words
    asyncpg.OperatorInterventionError,  # shutdown, crash, cannot connect now, statement timeout
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,  # deadlock, serialization
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
)


# Of these the ones that concern one statement, and not the database as a whole.
_OF_ONE_STATEMENT = (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, asyncpg.TransactionRollbackError)


def is_away(error: BaseException) -> bool:
    """Whether the next statement would fail like this one."""
    return is_unavailable(error) and not isinstance(error, _OF_ONE_STATEMENT)


def is_unavailable(error: BaseException) -> bool:
    """Whether a failure is the database's absence, so that the same call may succeed later."""
    # asyncpg's DataError, a wrong argument, is an InterfaceError too, but never heals.
    return isinstance(error, _UNAVAILABLE) and not isinstance(error, ValueError)


class Database:
    """A pool on the service's own database."""

    def __init__(self, pool: asyncpg.Pool, url: str, password: str | None):
        self.pool = pool
        self.url = url
        self.password = password
        self.committed = asyncio.Event()  # set after each transaction: wakes the relay

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction, READ COMMITTED, on a connection of the pool."""
        async with self.pool.acquire() as conn, conn.transaction():
            yield conn
        self.committed.set()

    async def connect_alone(self) -> asyncpg.Connection:
        """A connection outside the pool, for what belongs to a session: the caller closes it."""
        return await asyncpg.connect(
            self.url,
            password=self.password,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=STATEMENT_TIMEOUT_S,
            server_settings=_LIMITS | _PLANS,
        )


@contextlib.asynccontextmanager
async def connect(settings: DatabaseSettings, migrations: Path, name: str) -> AsyncIterator[Database]:
    """Open the pool once the database is there and migrated; wait for both, saying so in the log."""
    url, password = settings.database_url, settings.database_password
    await _wait_until_migrated(url, password, migrations)
    async with open_pool(url, password, name, min_size=1, max_size=settings.database_connections) as pool:
        yield Database(pool, url, password)


def open_pool(
    url: str,
    password: str | None,
    name: str,
    *,
    min_size: int,
    max_size: int,
    plans: Mapping[str, str] = _PLANS,
) -> asyncpg.Pool:
    """A pool with bounded waits, to be entered; no statement in it may change its session.

    Args:
        min_size: connections made at once; with 0 the database may be away.
        plans: how its sessions plan statements, PostgreSQL's settings; by default for those that name rows by keys.
    """
    return asyncpg.create_pool(
        url,
        password=password,
        min_size=min_size,
        max_size=max_size,
        timeout=CONNECT_TIMEOUT_S,
        # Longer than the server's own limit: this one is for a server that does not answer at all.
        command_timeout=STATEMENT_TIMEOUT_S + 0.5,
        server_settings={**_LIMITS, **plans, "application_name": name},
        reset=_nothing_to_reset,
    )


async def _nothing_to_reset(conn: asyncpg.Connection) -> None:
    """What a connection does when it goes back to the pool, beside the rollback that asyncpg makes of what is open.

    Its own way costs each transaction a round trip to undo what we never do: no statement of ours changes a session.
    """


async def _wait_until_migrated(url: str, password: str | None, migrations: Path) -> None:
    def say(state: tenacity.RetryCallState) -> None:
        error = state.outcome and state.outcome.exception()
        log.warning("waiting for the database", attempt=state.attempt_number, error=str(error))

    async for attempt in tenacity.AsyncRetrying(
        wait=tenacity.wait_exponential(0.1, max=5),
        retry=tenacity.retry_if_exception(lambda error: is_unavailable(error) or isinstance(error, _NotMigratedError)),
        before_sleep=say,
    ):
        with attempt:
            conn = await asyncpg.connect(url, password=password, timeout=CONNECT_TIMEOUT_S)
            try:
                if versions := await migrate.missing(conn, migrations):
                    raise _NotMigratedError(f"run the `migrate` command: {', '.join(versions)} not applied")
            finally:
                await conn.close()


class _NotMigratedError(Exception):
    """The database is older than the code."""
