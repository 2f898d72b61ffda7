"""pytest fixtures: real PostgreSQL and Kafka once a session, a database of its own for each test, real gRPC.

A test of a service gets that service's database: `db` looks at the folder that the test lies in.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from google.protobuf.descriptor import ServiceDescriptor
from grpc_status import rpc_status
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from deploy.native import home, parts, stack
from deploy.native.keys import LOCAL
from kit import db as kit_db
from kit import migrate, tokens
from kit.access import ByContract
from kit.calls import Dispatcher
from kit.client import service_of
from kit.db import Database
from kit.errors import Error, from_status
from kit.grpc_door import Door
from kit.settings import DatabaseSettings

SERVICES = Path(__file__).parents[2] / "services"
_numbers = itertools.count()

OpenDatabase = Callable[[str], Awaitable[Database]]
OpenDoor = Callable[..., Awaitable[grpc.aio.Channel]]


@pytest.fixture(scope="session")
async def native() -> AsyncIterator[stack.Shop]:
    """PostgreSQL and Kafka with their own ports and data, for the whole session."""
    with home.scratch_home() as folder:
        async with stack.running(folder, parts={"postgres", "kafka"}) as shop:
            yield shop


@pytest.fixture(scope="session")
async def templates(native: stack.Shop) -> dict[str, str]:
    """Migrated databases by service, filled as they are asked for."""
    return {}


@pytest.fixture
async def open_database(native: stack.Shop, templates: dict[str, str]) -> AsyncIterator[OpenDatabase]:
    """Give a fresh, migrated database of a service: a clone of its template, dropped after the test."""
    admin = await asyncpg.connect(native.admin_url)

    def url(name: str) -> str:
        return native.admin_url.rpartition("/")[0] + "/" + name

    async with AsyncExitStack() as opened:
        opened.push_async_callback(admin.close)

        async def fresh(service: str) -> Database:
            migrations = SERVICES / service / "migrations"
            if service not in templates:
                template = f"template_{service}"
                await admin.execute(f'CREATE DATABASE "{template}"')
                await migrate.apply(url(template), migrations)
                templates[service] = template
            name = f"test_{service}_{next(_numbers)}"
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{templates[service]}"')
            opened.push_async_callback(admin.execute, f'DROP DATABASE "{name}" WITH (FORCE)')
            settings = DatabaseSettings(database_url=url(name))
            return await opened.enter_async_context(kit_db.connect(settings, migrations, "test"))

        yield fresh


@pytest.fixture
async def db(request: pytest.FixtureRequest, open_database: OpenDatabase) -> Database:
    """A fresh database of the service that the test belongs to."""
    return await open_database(request.path.relative_to(SERVICES).parts[0])


def person_token(user: int, *, roles: Sequence[str] = ("customer",), session: str = "") -> str:
    """A token of a person, as identity would sign it, for the doors of tests."""
    now = int(time.time())
    header = {"alg": tokens.ALGORITHM, "typ": tokens.PERSON, "kid": _PERSONS_KEY.kid}
    claims = {"iss": tokens.PERSON_ISSUER, "aud": tokens.PERSON_AUDIENCE, "sub": str(user), "sid": session}
    return jwt.encode(
        header, {**claims, "roles": list(roles), "iat": now, "exp": now + tokens.PERSON_TOKEN_S_MAX}, _PERSONS_KEY
    )


def service_key(name: str) -> tokens.ServiceKey:
    """The key of a service for the doors of tests."""
    return _SERVICE_KEYS[name]


def service_token(name: str, audience: str) -> str:
    """A token of one service for another, for the doors of tests."""
    return _SERVICE_KEYS[name].token(audience)


def policy(*services: tuple[ServiceDescriptor, object]) -> ByContract:
    """The policy of the doors of tests: the real one, with keys of their own."""
    public = {name: KeySet([key.public()]) for name, key in _SERVICE_KEYS.items()}
    return ByContract(services, tokens.Verifier(service_of(services[0][0].full_name), _PersonsKeys(), public))


_PERSONS_KEY = ECKey.generate_key("P-256", auto_kid=True)
_SERVICE_KEYS = {
    name: tokens.ServiceKey(name, ECKey.generate_key("P-256").as_pem(private=True).decode())
    for name in (*parts.SERVICES, LOCAL)
}


class _PersonsKeys:
    async def get(self, kid: str) -> ECKey | None:
        return _PERSONS_KEY if kid == _PERSONS_KEY.kid else None


class Bearer(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds a token to each call that has none."""

    def __init__(self, token: str):
        self.token = token

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """Add it."""
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if "authorization" not in metadata:
            metadata.add("authorization", f"Bearer {self.token}")
        return await continuation(details._replace(metadata=metadata), request)


@pytest.fixture
async def open_door() -> AsyncIterator[OpenDoor]:
    """Serve a servicer on a real gRPC port; give a channel to it, whose calls carry a token.

    None given: the developer's own. An empty one: they carry none.
    """
    async with AsyncExitStack() as opened:

        async def serve(
            service: ServiceDescriptor, servicer: object, *, call_timeout_s: float = 5, token: str | None = None
        ) -> grpc.aio.Channel:
            served = (service, servicer)
            door = Door(Dispatcher(call_timeout_s=call_timeout_s, policy=policy(served)), [served])
            port = await door.start("127.0.0.1:0")
            opened.push_async_callback(door.server.stop, None)
            if token is None:
                token = service_token(LOCAL, service_of(service.full_name))
            interceptors = [Bearer(token)] if token else []
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors)
            return await opened.enter_async_context(channel)

        yield serve


@pytest.fixture
async def topic(native: stack.Shop) -> str:
    """A topic of the test's own, with three partitions."""
    name = f"test-{next(_numbers)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=native.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(name, num_partitions=3, replication_factor=1)])
    await admin.close()
    return name


async def until(
    look: Callable[[], Awaitable[Any]],
    wanted: object,
    *,
    of: Callable[[Any], Any] = lambda seen: seen,
    within_s: float = 20,
    every_s: float = 0.02,
) -> None:
    """Look again and again until it is (or `of` it is) what is wanted; fail with what was seen last."""
    seen = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while True:
                seen = of(await look())
                if seen == wanted:
                    return
                await asyncio.sleep(every_s)
    assert wanted == seen


@contextmanager
def refused(code: grpc.StatusCode, reason: str | None = None, *, field: str | None = None) -> Iterator[Error]:
    """Expect a call to be refused so; gives the error as our own client would raise it, once the block is left."""
    told = Error(0, "", "")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield told
    assert code == caught.value.code(), caught.value.details()
    status = rpc_status.from_call(caught.value)
    error = from_status(status) if status else None
    assert error is not None, "no reason in the status"
    told.__dict__.update(error.__dict__)
    if reason:
        assert reason == told.reason
    if field:
        assert field in [name for name, _ in told.fields]


async def read_topic(kafka: str, topic: str, *, count: int | None = None) -> list[ConsumerRecord]:
    """All records of a topic as it stands, or, with count, as soon as there are so many; in order per partition."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        records: list[ConsumerRecord] = []
        deadline = asyncio.get_running_loop().time() + 20
        while len(records) < (sum(ends.values()) if count is None else count):
            assert asyncio.get_running_loop().time() < deadline, f"{len(records)} records, not {count}"
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        return records
    finally:
        await consumer.stop()
