"""What is measured: each scenario in one or several ways, each way on fresh data, audited after it."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from aiokafka import ConsumerRecord

from deploy.native.parts import REPO
from kit.testing import read_topic, until
from loms.settings import Settings
from tests.audit import TOPIC, audit
from tests.bench import calibrate, goods
from tests.bench.callers import BUCKET_S, Load, percentiles_ms
from tests.bench.generator import CALLERS, CONNECTIONS
from tests.bench.results import Figures, Sample, Series
from tests.bench.stand import GOODS, Stand, Used
from tests.bench.traffic import Traffic

DOORS = ("pyvoy", "grpcio")
FAST = DOORS[0]
STEADY = 0.7  # of the maximum
CROWD = 256  # callers who find out the maximum
FLASH_BUYERS = 20_000
# Refusals after which an order may stand nevertheless.
UNCERTAIN = (
    "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNKNOWN",
    "CONNECTION_LOST", "GOAWAY", "HTTP_", "RST_",
)  # fmt: skip
CALM = 0.5  # of the maximum, before and after an overload
CALM_S = 4.0
RECOVERED_S = 0.5


@dataclass(frozen=True)
class Size:
    """How long and how much."""

    seconds: float
    warm_s: float  # before it
    rounds: int
    overload_s: float
    late_orders: int
    past_orders: tuple[int, int]  # small and large
    clients: tuple[int, ...] = (8, 16, 32, 64)  # of pgbench, of which the best counts


FULL = Size(seconds=6, warm_s=2, rounds=3, overload_s=60, late_orders=100_000, past_orders=(10_000, 1_000_000))
QUICK = Size(
    seconds=2, warm_s=1, rounds=1, overload_s=5, late_orders=10_000, past_orders=(10_000, 50_000), clients=(8, 32)
)

Way = Callable[[], Awaitable[Sample]]


class Scenarios:
    """The scenarios on one stand: by name, a list of (way, how to measure it)."""

    def __init__(self, stand: Stand, size: Size):
        self.stand = stand
        self.size = size
        self.round = 0
        small, large = size.past_orders
        self.all: dict[str, dict[str, Way]] = {
            "pgbench": {
                "uniform": partial(self._one_order, "uniform"),
                "hot": partial(self._one_order, "hot"),
                "hot3": partial(self._one_order, "hot3"),
            },
            "echo": {door: partial(self._echo, door) for door in DOORS},
            "uniform": {door: partial(self._create, "uniform", door, Traffic()) for door in DOORS},
            "hot": {door: partial(self._create, "hot", door, Traffic(skus=1, lines=1), "hot") for door in DOORS},
            "hot3": {FAST: partial(self._create, "hot3", FAST, Traffic(skus=1, lines=1))},
            "store": {str(callers): partial(self._store, callers) for callers in (CALLERS, CROWD)},
            "crowd": {FAST: partial(self._create, "crowd", FAST, Traffic(), callers=CROWD)},
            "zipf": {FAST: partial(self._create, "zipf", FAST, Traffic(zipf=1.0))},
            "lines": {
                str(lines): partial(self._create, "lines", str(lines), Traffic(lines=lines)) for lines in (1, 3, 10)
            },
            "processes": {
                f"2 {door}": partial(self._create, "processes", f"2 {door}", Traffic(), processes=2) for door in DOORS
            },
            "mix": {FAST: partial(self._create, "mix", FAST, Traffic(kind="mix"))},
            "reads": {
                f"{kind} {door}": partial(self._read, kind, door) for door in DOORS for kind in ("stocks", "list")
            },
            "steady": {door: partial(self._steady, door) for door in DOORS},
            "lone": {"batched": partial(self._lone, "batched"), "alone": partial(self._lone, "alone", batch_max=1)},
            "expiry": {FAST: self._expiry},
            "growth": {
                "small": partial(self._create, "growth", "small", Traffic(), f"past_{small}"),
                "large": partial(self._create, "growth", "large", Traffic(), f"past_{large}"),
            },
            "flash": {FAST: self._flash},
            "overload": {FAST: self._overload},
        }

    def _sample(self, scenario: str, way: str, figures: Figures, series: Series | None = None) -> Sample:
        rounded = {name: round(value, 4) for name, value in figures.items()}
        return Sample(scenario, way, self.round, rounded, series or [])

    @property
    def _spell_s(self) -> float:
        """Long enough to find out a maximum."""
        return min(self.size.seconds, max(2.0, self.size.seconds / 2))

    async def _template(self, name: str) -> str:
        """Make the data that a name stands for."""
        if name == "hot":
            return await self.stand.template(name, goods.one_shelf)
        if name == "flash":
            return await self.stand.template(name, goods.flash_sale)
        kind, _, count = name.partition("_")
        fill = {"past": goods.past_orders, "late": goods.late_orders}.get(kind)
        return await self.stand.template(name, lambda conn: fill(conn, int(count))) if fill else GOODS

    async def _one_order(self, way: str) -> Sample:
        template = await self._template("hot" if way == "hot" else GOODS)
        figures = await calibrate.one_order(
            self.stand, self.size.seconds / 2, self.size.clients, hot=way.startswith("hot"), template=template
        )
        return self._sample("pgbench", way, figures)

    async def _echo(self, door: str) -> Sample:
        return self._sample("echo", door, await calibrate.echo(door, self.size.seconds, self.size.warm_s))

    async def _create(
        self,
        scenario: str,
        way: str,
        traffic: Traffic,
        template: str = GOODS,
        *,
        callers: int = CALLERS,
        processes: int = 1,
    ) -> Sample:
        door = next((door for door in DOORS if door in way), FAST)
        # The kernel spreads connections over processes as it likes: many of them are spread well.
        connections = CONNECTIONS * processes**2
        async with (
            self.stand.loms(await self._template(template), door=door, processes=processes) as run,
            run.callers(traffic, connections=connections) as generator,
        ):
            warm_up = await generator.closed(self.size.warm_s, callers=callers)
            before = await run.used()
            load = await generator.closed(self.size.seconds, callers=callers)
            used = (await run.used()).since(before)
            await run.audited(warm_up.orders + load.orders, uncertain=_uncertain(warm_up, load))
        return self._sample(scenario, way, _figures(load, used))

    async def _read(self, kind: str, door: str) -> Sample:
        orders = self.size.past_orders[0]
        traffic = Traffic(kind=kind, orders=orders)
        template = await self._template(f"past_{orders}")
        async with self.stand.loms(template, door=door) as run, run.callers(traffic) as generator:
            await generator.closed(self.size.warm_s)
            before = await run.used()
            load = await generator.closed(self.size.seconds)
            used = (await run.used()).since(before)
        assert not load.refused, load.refused
        return self._sample("reads", f"{kind} {door}", _figures(load, used))

    async def _store(self, callers: int) -> Sample:
        async with self.stand.database() as conn:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.bench.store", f"--callers={callers}", f"--seconds={self.size.seconds}",
                f"--warm-s={self.size.warm_s}",
                cwd=REPO, env=self.stand.shop.environment(self.stand.shop.env("loms")), stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            told, _ = await process.communicate()
            figures: Figures = json.loads(told)
            await audit(conn)
            assert figures["made"] == await conn.fetchval("SELECT count(*) FROM orders")
        return self._sample("store", str(callers), figures)

    async def _steady(self, door: str) -> Sample:
        """Lags at 70 % of the maximum, of calls and of events; a bare door at the same rate, and a commit."""
        async with self.stand.loms(door=door) as run, run.callers(Traffic()) as generator:
            warm_up = await generator.closed(self.size.warm_s)
            most = await generator.closed(self._spell_s)
            await run.quiet()
            per_s = STEADY * most.per_s
            began = await run.conn.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
            before = await run.used()
            load = await generator.paced(self.size.seconds, per_s=per_s)
            used = (await run.used()).since(before)
            made = warm_up.orders + most.orders + load.orders
            await run.audited(made, uncertain=_uncertain(warm_up, most, load))
            records = await read_topic(self.stand.shop.kafka, TOPIC)
        figures = _figures(load, used) | _event_lags(records, began)
        figures |= {"max_per_s": most.per_s, "events_per_order": len(records) / made}
        bare = await calibrate.echo(door, self.size.seconds, self.size.warm_s, per_s=per_s)
        commit = await calibrate.one_commit(self.stand)
        figures |= {"echo_p99_ms": bare["p99_ms"], "commit_p99_ms": commit["p99_ms"], "commit_p50_ms": commit["p50_ms"]}
        figures["p99_to_floor"] = figures["p99_ms"] / (figures["echo_p99_ms"] + figures["commit_p99_ms"])
        return self._sample("steady", door, figures, load.series)

    async def _lone(self, way: str, batch_max: int = Settings.model_fields["batch_max"].default) -> Sample:
        async with (
            self.stand.loms(door=FAST, batch_max=batch_max) as run,
            run.callers(Traffic(), connections=1) as generator,
        ):
            warm_up = await generator.closed(self.size.warm_s, callers=1)
            before = await run.used()
            load = await generator.closed(self.size.seconds, callers=1)
            used = (await run.used()).since(before)
            await run.audited(warm_up.orders + load.orders)
        return self._sample("lone", way, _figures(load, used))

    async def _expiry(self) -> Sample:
        count = self.size.late_orders
        async with self.stand.loms(await self._template(f"late_{count}"), door=FAST) as run:
            waiting = "SELECT count(*) FROM orders WHERE status = 'awaiting_payment'"
            await until(lambda: run.conn.fetchval(waiting), 0, within_s=120)
            seconds = await run.conn.fetchval(
                """
                SELECT extract(epoch FROM max(at) - min(at))::float8
                  FROM order_history
                 WHERE version = 2
                """
            )
            await run.audited(0)
        return self._sample("expiry", FAST, {"seconds": seconds, "orders": count, "per_s": count / max(seconds, 1e-3)})

    async def _flash(self) -> Sample:
        async with self.stand.loms(await self._template("flash"), door=FAST) as run:
            async with run.callers(Traffic(skus=1, lines=1)) as generator:
                before = await run.used()
                load = await generator.closed(120, calls_max=FLASH_BUYERS)
                used = (await run.used()).since(before)
            await run.audited(load.orders, uncertain=_uncertain(load))
            sold = await run.conn.fetchval("SELECT sum(count) FROM holds WHERE sku = 1 AND state = 'held'")
            failed = await run.conn.fetchval("SELECT count(*) FROM orders WHERE status = 'failed'")
        figures = {"sold": sold, "there": goods.FLASH_UNITS, "failed": failed, "buyers": load.ok}
        return self._sample("flash", FAST, _figures(load, used) | figures, load.series)

    async def _overload(self) -> Sample:
        """Twice the maximum for a while, between two calm spells."""
        async with self.stand.loms(door=FAST) as run, run.callers(Traffic()) as generator:
            warm_up = await generator.closed(self.size.warm_s)
            most = await generator.closed(self._spell_s, callers=CROWD)
            calm = await generator.paced(CALM_S, per_s=CALM * most.per_s)
            load = await generator.paced(self.size.overload_s, per_s=2 * most.per_s)
            after = await generator.paced(CALM_S * 2, per_s=CALM * most.per_s)
            loads = (warm_up, most, calm, load, after)
            await run.audited(sum(one.orders for one in loads), uncertain=_uncertain(*loads))
        bound_ms = _queue_bound_ms(most.per_s)
        figures = {
            "max_per_s": most.per_s,
            "accepted_per_s": load.per_s,
            "accepted_to_max": load.per_s / most.per_s,
            "p99_ms": load.lag_ms["p99"],
            "bound_ms": bound_ms,
            "p99_to_bound": load.lag_ms["p99"] / bound_ms,
            "recovery_s": _recovery_s(calm.series, after.series),
            "refused": sum(load.refused.values()),
            "unanswered": load.unanswered,
        } | {f"refused_{why}": count for why, count in load.refused.items()}
        return self._sample("overload", FAST, figures, [*calm.series, *load.series, *after.series])


def _recovery_s(before: Series, after: Series) -> float:
    """When the first RECOVERED_S began in which no lag was over the worst of the calm before; else all of it."""
    worst_ms = max(p99_ms for _, p99_ms in before)
    wanted = round(RECOVERED_S / BUCKET_S)
    good = 0
    for place, (_, p99_ms) in enumerate(after):
        good = good + 1 if p99_ms <= worst_ms else 0
        if good == wanted:
            return BUCKET_S * (place + 1 - wanted)
    return BUCKET_S * len(after)


def _queue_bound_ms(per_s: float) -> float:
    """How long who is let in may wait: for all that wait or are under way, and for the rest of their own batch."""
    defaults = {name: Settings.model_fields[name].default for name in ("queue_max", "batch_max")}
    return 1000 * (defaults["queue_max"] + defaults["batch_max"]) / per_s


def _uncertain(*loads: Load) -> int:
    """Calls of which nobody knows whether they made an order."""
    return sum(
        one.unanswered + sum(count for why, count in one.refused.items() if why.startswith(UNCERTAIN)) for one in loads
    )


def _figures(load: Load, used: Used) -> Figures:
    calls = max(load.ok, 1)
    figures = {"per_s": load.per_s, "ok": load.ok, "refused": sum(load.refused.values())}
    figures |= {f"{name}_ms": lag for name, lag in load.lag_ms.items()}
    figures |= {f"cpu_us_{name}": seconds / calls * 1e6 for name, seconds in used.cpu_s.items()}
    figures |= {f"ok_{name}": count for name, count in load.by_method.items()}
    figures |= {f"refused_{why}": count for why, count in load.refused.items()}
    return figures | {
        "cpu_us_callers": load.cpu_s / calls * 1e6,
        "cores": (sum(used.cpu_s.values()) + load.cpu_s) / load.seconds,
        "wal_bytes": used.wal_bytes / calls,
        "commits": used.commits / calls,
    }


def _event_lags(records: list[ConsumerRecord], since: float) -> Figures:
    """From a change's own time to the broker's, of the changes since then (seconds of the epoch)."""
    lags_s = []
    for record in records:
        at = datetime.fromisoformat(json.loads(record.value)["at"]).timestamp()
        if at >= since:
            lags_s.append(record.timestamp / 1000 - at)
    return {f"event_{name}_ms": lag for name, lag in percentiles_ms(lags_s).items()}
