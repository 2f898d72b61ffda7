"""What the stack consists of: names, commands, ports, environment, order. Data only; stack.py brings it to life.

run-all, tests, benchmarks and chaos runs all start from this one description, each with its own ports and data folder.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deploy.contracts import topics

REPO = Path(__file__).parents[2]

# Every port is a setting: ABACUS_<NAME>_PORT.
PORTS = {
    "postgres": 54320,
    "kafka": 19092,
    "kafka-controller": 19093,
    "loms": 50051,
    "checkout": 50052,
    "catalog": 50053,
    "notifications": 50054,
    "identity": 50055,
    "jwks": 8082,
    "gateway": 8080,
    "gateway-admin": 9901,
    "mailbox": 8025,
    "smtp": 1025,
    "sms": 8026,
}


@dataclass(frozen=True)
class Part:
    """A long-running process, or a step that runs once and ends.

    `argv` (arguments of Python) and `env` are templates: {loms} is the address host:port of loms, {seed} the folder
    of the seed files, {secrets} that of the keys, {gateway-folder} that of the gateway's configuration.
    """

    name: str
    argv: tuple[str, ...] = ()  # empty: PostgreSQL, Kafka and Envoy, which have modules of their own
    after: tuple[str, ...] = ()  # healthy, or done, before this one starts
    ports: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    service: str | None = None  # whose database, login and settings it gets
    health: Literal["grpc", "http", "own", "exit"] = "grpc"  # "exit": a step, done when it ended with 0

    @property
    def once(self) -> bool:
        """Whether it is a step."""
        return self.health == "exit"


def setting(port_name: str) -> str:
    """Return the environment variable that sets a port."""
    return f"ABACUS_{port_name.replace('-', '_').upper()}_PORT"


# Settings of every service, beside its door and its database.
COMMON = {"JWKS_URL": "http://{jwks}/.well-known/jwks.json", "SERVICE_KEYS_FILE": "{secrets}/service-keys.json"}
# Settings of a service that tell it where the other parts are, and where its secrets.
WIRING: dict[str, dict[str, str]] = {
    "loms": {"LOMS_KAFKA": "{kafka}"},
    "checkout": {
        "CHECKOUT_LOMS": "{loms}",
        "CHECKOUT_CATALOG": "{catalog}",
        "CHECKOUT_SERVICE_KEY_FILE": "{secrets}/checkout.key",
    },
    "catalog": {
        "CATALOG_KAFKA": "{kafka}",
        "CATALOG_LOMS": "{loms}",
        "CATALOG_SERVICE_KEY_FILE": "{secrets}/catalog.key",
    },
    "notifications": {
        "NOTIFICATIONS_KAFKA": "{kafka}",
        "NOTIFICATIONS_SMTP": "{smtp}",
        "NOTIFICATIONS_SMS_URL": "http://{sms}/sms",
        "NOTIFICATIONS_SEAL_KEY_FILE": "{secrets}/notifications-seal.private.json",
    },
    "identity": {
        "IDENTITY_KAFKA": "{kafka}",
        "IDENTITY_JWKS_LISTEN": "{jwks}",
        "IDENTITY_VAULT_KEY_FILE": "{secrets}/identity-vault.key",
        "IDENTITY_SEAL_KEY_FILE": "{secrets}/notifications-seal.public.json",
    },
}
SERVICES = tuple(WIRING)  # each has a database and a login of its name
_topics = topics(SERVICES)
TOPICS = {topic.name: topic.partitions for topic in _topics}
# Topics by the service that reads them.
CONSUMERS = {
    reader: tuple(topic.name for topic in _topics if reader in topic.readers)
    for reader in dict.fromkeys(reader for topic in _topics for reader in topic.readers)
}


def _service(name: str, *after: str, ports: tuple[str, ...] = ()) -> Part:
    return Part(name, ("-m", name, "all"), (f"{name}-migrate", *after), ports or (name,), service=name)


def _step(name: str, *argv: str, after: tuple[str, ...] = (), service: str | None = None) -> Part:
    return Part(name, ("-m", *argv), after, service=service, health="exit")


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("postgres", ports=("postgres",), health="own"),
        Part("kafka", ports=("kafka", "kafka-controller"), health="own"),
        _step("seed-files", "deploy.seed", "{seed}"),
        *(_step(f"{name}-migrate", name, "migrate", after=("postgres",), service=name) for name in SERVICES),
        _step("loms-seed", "loms", "seed", "{seed}/stock.jsonl", after=("loms-migrate", "seed-files"), service="loms"),
        _step(
            "catalog-seed", "catalog", "seed", "{seed}/products.jsonl",
            after=("catalog-migrate", "seed-files"), service="catalog",
        ),
        _step(
            "identity-seed", "identity", "seed", "{seed}/customers.jsonl",
            after=("identity-migrate", "seed-files"), service="identity",
        ),
        Part(
            "mailbox",
            ("-m", "notifications.mailbox"),
            ports=("mailbox", "smtp", "sms"),
            env={"MAILBOX_WEB": "{mailbox}", "MAILBOX_SMTP": "{smtp}", "MAILBOX_SMS": "{sms}"},
            health="http",
        ),
        _service("identity", "identity-seed", "kafka", ports=("identity", "jwks")),
        _service("loms", "loms-seed", "kafka"),
        _service("catalog", "catalog-seed", "kafka"),
        _service("checkout", "loms", "catalog"),
        _service("notifications", "kafka", "mailbox"),
        _step(
            "gateway-config", "deploy.gateway", "write", "{gateway-folder}", "--listen", "{gateway}",
            "--admin", "{gateway-admin}", "--jwks", "{jwks}", "--service-keys", "{secrets}/service-keys.json",
            *(word for name in SERVICES for word in (f"--{name}", f"{{{name}}}")),
        ),
        Part("gateway", after=("gateway-config", *SERVICES), ports=("gateway", "gateway-admin"), health="own"),
    )
}  # fmt: skip

# Steps that fill the shop with goods and customers; tests that bring their own leave them out.
SEEDS = frozenset({"seed-files", "loms-seed", "catalog-seed", "identity-seed"})


def chosen(names: Iterable[str] | None, without: Collection[str] = ()) -> dict[str, Part]:
    """Return these parts (None: all) with everything they need, minus `without`, in the order of PARTS."""
    wanted: set[str] = set()
    queue = list(PARTS if names is None else names)
    while queue:
        name = queue.pop()
        if name in wanted or name in without:
            continue
        wanted.add(name)
        queue.extend(PARTS[name].after)
    return {name: part for name, part in PARTS.items() if name in wanted}
