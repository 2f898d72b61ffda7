"""The table that the issue asks for: what must be, what was measured, in one run."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.results import Results, Sample, Spread
from tests.bench.scenarios import CALLERS, CROWD, DOORS, FAST

Place = tuple[str, str, str]  # scenario, way, figure
SLOW = DOORS[1]


@dataclass(frozen=True)
class Row:
    """A figure, or its ratio to another, and how good it must be; without goals it is only told."""

    what: str
    of: Place
    to: Place | None = None
    goals: tuple[float, ...] = ()  # must, aim, moonshot
    is_less_better: bool = False
    unit: str = ""

    def measured(self, results: Results) -> Spread | None:
        """What was measured; None where it was not."""
        return results.ratio(self.of, self.to) if self.to else results.spread(*self.of)

    def verdict(self, seen: Spread) -> str:
        """Which of the goals the median reaches."""
        if not self.goals:
            return ""
        reached = [seen.median <= goal if self.is_less_better else seen.median >= goal for goal in self.goals]
        names = ("must", "aim", "moonshot")[: len(self.goals)]
        best = [name for name, ok in zip(names, reached, strict=True) if ok]
        return best[-1] if best else "MISSED"


def _per_s(scenario: str, way: str) -> Place:
    return scenario, way, "per_s"


ROWS = (
    Row(
        "createOrder, uniform ÷ pgbench, one-order function",
        _per_s("uniform", FAST),
        _per_s("pgbench", "uniform"),
        (0.8, 1.2, 2),
    ),
    Row(
        "createOrder, one hot product ÷ the same in pgbench", _per_s("hot", FAST), _per_s("pgbench", "hot"), (4, 8, 12)
    ),
    Row(
        "createOrder, one hot product on three shelves ÷ the same in pgbench",
        _per_s("hot3", FAST),
        _per_s("pgbench", "hot3"),
    ),
    Row(
        f"store alone, {CALLERS} callers, uniform ÷ pgbench",
        _per_s("store", str(CALLERS)),
        _per_s("pgbench", "uniform"),
        (1.5, 2.5, 4),
    ),
    Row("store alone, 256 callers, uniform ÷ pgbench", _per_s("store", str(CROWD)), _per_s("pgbench", "uniform")),
    Row("createOrder on grpc.aio ÷ grpc.aio echo", _per_s("uniform", SLOW), _per_s("echo", SLOW), (0.7, 0.95, 1.1)),
    Row("createOrder, pyvoy ÷ grpc.aio, uniform", _per_s("uniform", FAST), _per_s("uniform", SLOW), (1.3, 1.7, 2.5)),
    Row("createOrder, pyvoy ÷ grpc.aio, hot", _per_s("hot", FAST), _per_s("hot", SLOW), (1.8, 2.5, 3.5)),
    *(
        Row(f"createOrder, two processes ÷ one, {door}", _per_s("processes", f"2 {door}"), _per_s("uniform", door))
        for door in DOORS
    ),
    *(
        Row(f"{name} ÷ echo, {door}", _per_s("reads", f"{kind} {door}"), _per_s("echo", door), (0.4, 0.65, 0.85))
        for door in DOORS
        for kind, name in (("stocks", "Stocks"), ("list", "ListOrder"))
    ),
    *(
        Row(
            f"p99 at 70 % ÷ (commit + echo's p99), {door}",
            ("steady", door, "p99_to_floor"),
            goals=(5, 3, 2),
            is_less_better=True,
        )
        for door in DOORS
    ),
    Row(
        "p99 of a lone caller, batching on ÷ off",
        ("lone", "batched", "p99_ms"),
        ("lone", "alone", "p99_ms"),
        (1.1, 1.0, 1.0),
        is_less_better=True,
    ),
    Row("events relayed ÷ orders made", ("steady", FAST, "events_per_order"), goals=(1.0, 1.0, 1.0)),
    Row("event lag p99 at 70 %", ("steady", FAST, "event_p99_ms"), goals=(250, 50, 15), is_less_better=True, unit="ms"),
    Row("expired orders cancelled", ("expiry", FAST, "seconds"), goals=(30, 10, 4), is_less_better=True, unit="s"),
    Row("createOrder, large table ÷ small", _per_s("growth", "large"), _per_s("growth", "small"), (0.8, 0.9, 1.0)),
    Row("flash sale: units sold ÷ units there", ("flash", FAST, "sold"), ("flash", FAST, "there"), (1,)),
    Row("2× overload: accepted ÷ maximum", ("overload", FAST, "accepted_to_max"), goals=(0.8, 0.9, 0.95)),
    Row(
        "2× overload: p99 ÷ the queue's bound", ("overload", FAST, "p99_to_bound"), goals=(1, 1, 1), is_less_better=True
    ),
    Row("2× overload: recovery", ("overload", FAST, "recovery_s"), goals=(5, 2, 1), is_less_better=True, unit="s"),
)

# Of each way: what it brought and what it cost.
_COLUMNS = {
    "per_s": "a second",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "cpu_us_loms": "CPU loms",
    "cpu_us_postgres": "PostgreSQL",
    "cpu_us_kafka": "Kafka",
    "cpu_us_callers": "callers µs",
    "cores": "cores busy",
    "wal_bytes": "WAL bytes",
    "commits": "commits",
}


def text(results: Results) -> str:
    """Markdown: the goals, and under them what each way brought and cost."""
    goals = [
        [row.what, *_goals(row), f"{seen}{f' {row.unit}' if row.unit else ''}", row.verdict(seen)]
        for row in ROWS
        if (seen := row.measured(results))
    ]
    costs = [
        [f"{scenario}, {way}", *(str(results.spread(scenario, way, figure) or "") for figure in _COLUMNS)]
        for scenario in dict.fromkeys(one.scenario for one in results.samples)
        for way in results.ways(scenario)
    ]
    parts = [_markdown(["what", "must", "aim", "moonshot", "measured", "reached"], goals)] if goals else []
    parts.append(_markdown(["scenario", *_COLUMNS.values()], costs))
    if "h2load_per_s" in results.about:
        parts.append(
            f"The same fixed call to grpc.aio's echo: {results.about['ours_per_s']:,.0f} a second by our callers, "
            f"{results.about['h2load_per_s']:,.0f} by h2load."
        )
    return "\n\n".join(parts)


def brief(sample: Sample) -> str:
    """One run in a line."""
    told = (
        "per_s",
        "p99_ms",
        "seconds",
        "event_p99_ms",
        "p99_to_floor",
        "accepted_to_max",
        "recovery_s",
        "sold",
        "refused",
    )
    return ", ".join(f"{name} {sample.figures[name]:,.4g}" for name in told if name in sample.figures)


def _goals(row: Row) -> list[str]:
    return [f"{row.goals[place]:g}" if place < len(row.goals) else "" for place in range(3)]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
