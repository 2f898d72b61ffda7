"""What deploy/docker brings to the containers, tried on the real servers of the tests."""

import asyncio
import re
import stat
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import asyncpg
import grpc
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from packaging.requirements import Requirement

from deploy.docker import accounts, keys, requirements
from deploy.native import postgres, stack
from deploy.native.broker import make_topics
from deploy.native.parts import REPO, SERVICES

DOCKERFILE = (REPO / "deploy" / "Dockerfile").read_text()


def test_secrets_are_made(tmp_path: Path) -> None:
    """Secrets are readable in containers, out of the reach of others on this machine, and made once."""
    folder = keys.make(tmp_path)
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert {0o444} == {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    keys.make(tmp_path)
    assert made == {path.name: path.read_text() for path in folder.iterdir()}


def installed() -> set[str]:
    """Names of what the Dockerfile installs, its entries being the lock's to the letter."""
    extra = re.search(r"python requirements\.py (.*) > ", DOCKERFILE)
    assert extra
    lock = (REPO / "requirements.lock").read_text()
    project = (REPO / "pyproject.toml").read_text()
    part = requirements.needed(lock, [*requirements.of_services(project), *extra[1].split()])
    entries = re.findall(r"^\S+==.*\n(?: .*\n)+", part, re.MULTILINE)
    assert "".join(entries) == part
    assert all(entry in lock and "--hash=sha256:" in entry for entry in entries)
    return {entry.partition("==")[0] for entry in entries}


def wants(name: str) -> Iterator[str]:
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield re.sub(r"[-_.]+", "-", requirement.name).lower()


def test_image_has_what_services_need() -> None:
    """The image's packages need nothing that is not there, and none is a tool of developers or of the native stack."""
    names = installed()
    on_this_system = {name for name in names if name not in ("colorama", "winloop")}
    assert {(name, other) for name in on_this_system for other in wants(name) if other not in names} == set()
    extras = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    ours = {"psutil", "typer", "rich", *wants("pyvoy")}  # of the door, Envoy too
    unwanted = {Requirement(line).name for lines in extras.values() for line in lines} - ours
    assert set() == names & unwanted


async def test_accounts(native: stack.Shop, tmp_path: Path) -> None:
    """Each service gets the password of its file and opens its own database, and no other's; again changes nothing."""
    for account in ("postgres", *SERVICES):
        postgres.password_file(tmp_path, account)
    old, new = (postgres.password_file(home, "postgres") for home in (native.home, tmp_path))
    new.write_text(old.read_text())
    address = native.address("postgres")
    try:
        for _ in range(2):
            await accounts.make(address, tmp_path)
        password = postgres.password_file(tmp_path, "loms").read_text()
        conn = await asyncpg.connect(f"postgresql://loms:{password}@{address}/loms", ssl=False)
        await conn.close()
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(f"postgresql://loms:{password}@{address}/checkout", ssl=False)
    finally:
        await accounts.make(address, native.home)


async def test_topics(native: stack.Shop, topic: str) -> None:
    """A topic is made with its partitions; one that is there stays as it is."""
    for partitions in (2, 3):
        await make_topics(native.kafka, {f"{topic}.docker": partitions})
    client = AIOKafkaAdminClient(bootstrap_servers=native.kafka)
    await client.start()
    try:
        described = await client.describe_topics([f"{topic}.docker"])
    finally:
        await client.close()
    assert 2 == len(described[0]["partitions"])


async def test_health_asks() -> None:
    """The health check passes while the server says that it serves, and fails in one line when it does not."""
    servicer = health.aio.HealthServicer()
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        for status, wanted in (
            (health_pb2.HealthCheckResponse.SERVING, 0),
            (health_pb2.HealthCheckResponse.NOT_SERVING, 1),
        ):
            await servicer.set("", status)
            check = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "deploy.docker.health", "grpc", f"127.0.0.1:{port}",
                cwd=REPO, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, said = await check.communicate()
            assert wanted == check.returncode
            assert wanted == len(said.splitlines())
    finally:
        await server.stop(0)
