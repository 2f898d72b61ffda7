"""What a person is shown: where everything listens, how much memory it takes, what is wrong."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psutil
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from deploy.native import broker
from deploy.native.home import Running, State
from deploy.native.parts import CONSUMERS, PARTS, REPO, SERVICES, TOPICS
from deploy.native.stack import Shop

OUTBOX_LAG_S_MAX = 10.0  # events older than this and still unpublished are a fault
CONSUMER_STANDS_STILL_S = 2.0  # one that commits nothing for so long, while messages wait, is a fault
STATUS_WITHIN_S = 20.0
KAFKA_WITHIN_S = 8.0
FIRST_PRODUCT = "seed/products.jsonl"


def pss(pid: int) -> int:
    """Return the memory of a process and its children in bytes; pages that several share count once in all."""
    total = 0
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def own_pss() -> int:
    """Return the memory of this process alone in bytes."""
    return int(psutil.Process().memory_full_info().pss)


def overview(shop: Shop, console: Console) -> None:
    """Print addresses, memory, and a few lines to try."""
    table = Table("process", "listens on", "memory (PSS)", box=None, header_style="bold")
    total = own_pss()
    for name, part in PARTS.items():
        if part.once or name not in shop.processes:
            continue
        memory = pss(shop[name].pid)
        total += memory
        table.add_row(name, _where(shop, name), _megabytes(memory))
    table.add_row("run-all itself", "", _megabytes(own_pss()))
    table.add_row("in all", "", _megabytes(total), style="bold")
    console.print(table)
    if "checkout" not in shop.processes:
        return
    sku = _first_sku(shop)
    for title, line in (
        ("put in the cart", _call("checkout", "AddToCart", f'{{"user":1,"sku":{sku},"count":2}}')),
        ("buy it", _call("checkout", "Purchase", '{"user":1}')),
        ("make an account", _register(shop)),
        ("read the messages", f"open http://{shop.address('mailbox')}"),
    ):
        console.print(f"{title:18} {line}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{'stop':18} Ctrl-C, or make stop in another terminal", markup=False, highlight=False)


async def status(shop: Shop, state: State, console: Console) -> list[str]:
    """Print each process and what each service says of itself; return what is wrong, in words."""
    wrong: list[str] = []
    table = Table("process", "pid", "up", "restarts", "memory (PSS)", "healthy", box=None, header_style="bold")
    names = [name for name, part in PARTS.items() if not part.once and name in state.parts]
    healthy = await asyncio.gather(*(_healthy(shop, name, state.processes.get(name)) for name in names))
    for name, well in zip(names, healthy, strict=True):
        known = state.processes.get(name)
        alive = known is not None and _alive(known)
        if not well:
            wrong.append(f"{name} is {'not healthy' if alive else 'not running'}")
        if known is None:
            table.add_row(name, "", "", "", "", "not started")
            continue
        table.add_row(
            name, str(known.pid) if alive else "", _duration(time.time() - known.started_at) if alive else "",
            str(known.restarts), _megabytes(pss(known.pid)) if alive else "", "yes" if well else "NO",
            style="" if well else "bold red",
        )  # fmt: skip
    console.print(table)
    services = [name for name in SERVICES if name in state.parts]
    if services:
        wrong += await _service_figures(shop, services, console)
    consumers = [name for name in CONSUMERS if name in state.parts]
    if consumers:
        wrong += await _consumer_figures(shop, consumers, console)
    return wrong


async def _service_figures(shop: Shop, services: Sequence[str], console: Console) -> list[str]:
    wrong: list[str] = []
    said = await asyncio.gather(*(_service_status(shop, name) for name in services))
    table = Table("service", "says", box=None, header_style="bold")
    for name, answer in zip(services, said, strict=True):
        faults = [answer] if isinstance(answer, str) else _faults(answer)
        wrong += [f"{name}: {fault}" for fault in faults]
        text = answer if isinstance(answer, str) else ", ".join(f"{key} {value}" for key, value in answer.items())
        table.add_row(name, text, style="bold red" if faults else "")
    console.print(table)
    return wrong


async def _consumer_figures(shop: Shop, consumers: Sequence[str], console: Console) -> list[str]:
    """Print how many messages of each topic wait for each service; tell which service does not take them."""
    wrong: list[str] = []
    table = Table("consumer", "messages that wait", box=None, header_style="bold")
    told = await asyncio.gather(*(_consumer_status(shop, name) for name in consumers))
    for name, (text, fault) in zip(consumers, told, strict=True):
        wrong += [f"{name}: {fault}"] if fault else []
        table.add_row(name, text, style="bold red" if fault else "")
    console.print(table)
    return wrong


async def _consumer_status(shop: Shop, service: str) -> tuple[str, str]:
    """Return how many messages wait, and what is wrong with that, "" if nothing is."""
    topics = {name: TOPICS[name] for name in CONSUMERS[service]}
    try:
        async with asyncio.timeout(KAFKA_WITHIN_S):
            first = seen = await broker.progress(shop.kafka, service, topics)
            if any(first.waiting.values()):
                await asyncio.sleep(CONSUMER_STANDS_STILL_S)
                seen = await broker.progress(shop.kafka, service, topics)
    except (OSError, TimeoutError, KafkaError) as error:
        fault = f"Kafka does not say how far it is ({error!r})"
        return fault, fault
    fault = ""
    if any(first.waiting.values()) and first.committed == seen.committed and any(seen.waiting.values()):
        fault = f"{sum(seen.waiting.values())} messages wait, none was handled for {CONSUMER_STANDS_STILL_S:g} s"
    return ", ".join(f"{topic} {count}" for topic, count in seen.waiting.items()), fault


def _faults(answer: Mapping[str, Any]) -> list[str]:
    """Tell what of a service's own figures is not as it should be."""
    faults = [
        f"{key} is {value}"
        + (" (the table of that name says why, `make replay` tries again)" if key == "dead_letters" else "")
        for key, value in answer.items()
        if key.startswith(("dead_", "overdue_")) and value > 0
    ]
    lag_s = answer.get("outbox_lag_s", 0.0)
    if lag_s > OUTBOX_LAG_S_MAX:
        faults.append(f"events wait for {lag_s:.0f} s to be published")
    return faults


async def _service_status(shop: Shop, service: str) -> dict[str, Any] | str:
    """Return what `python -m <service> status` says, or why it says nothing."""
    asked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", service, "status",
        env=shop.environment(shop.env(service)), cwd=REPO,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, complaint = await asyncio.wait_for(asked.communicate(), STATUS_WITHIN_S)
    except TimeoutError:
        asked.kill()
        await asked.wait()
        return f"no answer within {STATUS_WITHIN_S:g} s"
    if asked.returncode != 0:
        return (complaint or output).decode(errors="replace").strip().rpartition("\n")[2] or f"exit {asked.returncode}"
    answer: dict[str, Any] = json.loads(output.strip().rpartition(b"\n")[2])
    return answer


async def _healthy(shop: Shop, name: str, known: Running | None) -> bool:
    if known is None or not _alive(known):
        return False
    try:
        await asyncio.wait_for(shop[name].probe(), 5.0)
    except Exception:  # whatever a probe fails with, the answer is no
        return False
    return True


def _alive(known: Running) -> bool:
    with contextlib.suppress(psutil.Error):
        # A pid may come again for another program.
        return abs(psutil.Process(known.pid).create_time() - known.started_at) < 5.0
    return False


def _where(shop: Shop, name: str) -> str:
    if name == "mailbox":
        return f"http://{shop.address('mailbox')}  (SMTP {shop.ports['smtp']}, SMS {shop.ports['sms']})"
    if name == "kafka":
        return f"{shop.kafka}  (controller {shop.ports['kafka-controller']})"
    if name == "identity":
        return f"{shop.address('identity')}  (public keys {shop.ports['jwks']})"
    if name == "gateway":
        return f"http://{shop.address('gateway')}  (admin {shop.ports['gateway-admin']})"
    return shop.address(name)


def _first_sku(shop: Shop) -> int:
    """Return a product that the shop sells."""
    with contextlib.suppress(OSError, ValueError, KeyError), (shop.home / FIRST_PRODUCT).open() as products:
        return int(json.loads(products.readline())["sku"])
    return 1


def _call(service: str, method: str, body: str) -> str:
    return f"make call m=abacus.{service}.v1.{service.title()}Service/{method} d='{body}'"


def _register(shop: Shop) -> str:
    body = '{"firstName":"Ann","email":"ann@example.org","password":"something long"}'
    return f"curl --json '{body}' http://{shop.address('gateway')}/api/v1/auth/register/email"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
