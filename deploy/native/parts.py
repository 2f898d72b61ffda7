"""What the stack consists of: names, commands, ports, environment, order. Data only; stack.py brings it to life.

run-all, tests, benchmarks and chaos runs all start from this one description, each with its own ports and data folder.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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
    "mailbox": 8025,
    "smtp": 1025,
    "sms": 8026,
}

# Topic -> partitions. Orders spread by their id; contacts are few.
TOPICS = {"abacus.loms.order-status.v1": 6, "abacus.identity.contact.v1": 3}
# Services that read all of them, each as the consumer group of its name, and can replay their dead letters.
CONSUMERS = ("notifications",)


@dataclass(frozen=True)
class Part:
    """A long-running process, or a step that runs once and ends.

    `argv` (arguments of Python) and `env` are templates: {loms} is the address host:port of loms, {seed} the folder
    of the seed files.
    """

    name: str
    argv: tuple[str, ...] = ()  # empty: PostgreSQL and Kafka, which have modules of their own
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


# Settings of a service that tell it where the other parts are.
WIRING: dict[str, dict[str, str]] = {
    "loms": {"LOMS_KAFKA": "{kafka}"},
    "checkout": {"CHECKOUT_LOMS": "{loms}", "CHECKOUT_CATALOG": "{catalog}"},
    "catalog": {},
    "notifications": {
        "NOTIFICATIONS_KAFKA": "{kafka}",
        "NOTIFICATIONS_SMTP": "{smtp}",
        "NOTIFICATIONS_SMS_URL": "http://{sms}/sms",
    },
}
SERVICES = tuple(WIRING)  # each has a database and a login of its name


def _service(name: str, *after: str) -> Part:
    return Part(name, ("-m", name, "all"), (f"{name}-migrate", *after), (name,), service=name)


def _step(name: str, *argv: str, after: tuple[str, ...] = (), service: str | None = None) -> Part:
    return Part(name, ("-m", *argv), after, service=service, health="exit")


PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("postgres", ports=("postgres",), health="own"),
        Part("kafka", ports=("kafka", "kafka-controller"), health="own"),
        _step("seed-files", "deploy.seed", "write", "{seed}"),
        *(_step(f"{name}-migrate", name, "migrate", after=("postgres",), service=name) for name in SERVICES),
        _step("loms-seed", "loms", "seed", "{seed}/stock.jsonl", after=("loms-migrate", "seed-files"), service="loms"),
        _step(
            "catalog-seed", "catalog", "seed", "{seed}/products.jsonl",
            after=("catalog-migrate", "seed-files"), service="catalog",
        ),
        _step("contacts", "deploy.seed", "contacts", "--kafka", "{kafka}", after=("kafka",)),
        Part(
            "mailbox",
            ("-m", "notifications.mailbox"),
            ports=("mailbox", "smtp", "sms"),
            env={"MAILBOX_WEB": "{mailbox}", "MAILBOX_SMTP": "{smtp}", "MAILBOX_SMS": "{sms}"},
            health="http",
        ),
        _service("loms", "loms-seed", "kafka"),
        _service("catalog", "catalog-seed"),
        _service("checkout", "loms", "catalog"),
        _service("notifications", "kafka", "mailbox"),
    )
}  # fmt: skip

# Steps that fill the shop with goods and customers; tests that bring their own leave them out.
SEEDS = frozenset({"seed-files", "loms-seed", "catalog-seed", "contacts"})


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
