"""Pictures of what was measured, as SVG for docs/performance.md."""

from pathlib import Path

import matplotlib as mpl

from tests.bench.callers import BUCKET_S
from tests.bench.results import Results

mpl.use("svg")
mpl.rcParams |= {
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

from matplotlib import pyplot as plt  # noqa: E402  # the backend first

THROUGHPUT = ("pgbench", "store", "uniform", "zipf", "hot", "mix", "lines", "growth", "echo", "reads")
COSTS = {"cpu_us_loms": "loms", "cpu_us_postgres": "PostgreSQL", "cpu_us_kafka": "Kafka", "cpu_us_callers": "callers"}
COSTED = ("uniform", "hot", "zipf", "mix", "lines", "growth", "steady")


def draw(results: Results, folder: Path) -> None:
    """Draw what there is."""
    folder.mkdir(parents=True, exist_ok=True)
    _throughput(results, folder / "throughput.svg")
    _cpu(results, folder / "cpu.svg")
    _overload(results, folder / "overload.svg")


def _throughput(results: Results, path: Path) -> None:
    bars = [
        (f"{scenario}, {way}", seen)
        for scenario in THROUGHPUT
        for way in results.ways(scenario)
        if (seen := results.spread(scenario, way, "per_s"))
    ]
    if not bars:
        return
    figure, axes = plt.subplots(figsize=(7, 0.28 * len(bars) + 0.8))
    names = [name for name, _ in bars]
    medians = [seen.median for _, seen in bars]
    off = [[seen.median - seen.low for _, seen in bars], [seen.high - seen.median for _, seen in bars]]
    axes.barh(names, medians, xerr=off, color="#4c78a8", ecolor="#222222", height=0.7)
    axes.invert_yaxis()
    axes.set_xlabel("calls a second: median, from the lowest to the highest round")
    _save(figure, path)


def _cpu(results: Results, path: Path) -> None:
    ways = [(scenario, way) for scenario in COSTED for way in results.ways(scenario)]
    if not ways:
        return
    figure, axes = plt.subplots(figsize=(7, 0.28 * len(ways) + 1.0))
    left = [0.0] * len(ways)
    for cost, name in COSTS.items():
        widths = [seen.median if (seen := results.spread(*way, cost)) else 0.0 for way in ways]
        axes.barh([", ".join(way) for way in ways], widths, left=left, label=name, height=0.7)
        left = [one + two for one, two in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("µs of CPU a call")
    axes.legend(frameon=False, ncol=len(COSTS), loc="lower left", bbox_to_anchor=(0, 1))
    _save(figure, path)


def _overload(results: Results, path: Path) -> None:
    last = next((one for one in reversed(results.samples) if one.scenario == "overload"), None)
    if last is None:
        return
    figure, (rate, lag) = plt.subplots(2, 1, figsize=(7, 4), sharex=True)
    seconds = [place * BUCKET_S for place in range(len(last.series))]
    rate.plot(seconds, [count / BUCKET_S for count, _ in last.series], linewidth=0.7)
    rate.axhline(last.figures["max_per_s"], linestyle=":", color="#222222", linewidth=0.8)
    rate.set_ylabel("accepted a second")
    lag.plot(seconds, [p99_ms for _, p99_ms in last.series], linewidth=0.7, color="#e45756")
    lag.axhline(last.figures["bound_ms"], linestyle=":", color="#222222", linewidth=0.8)
    lag.set_ylabel("p99, ms")
    lag.set_xlabel("seconds: half of the maximum, twice the maximum, half of it again")
    _save(figure, path)


def _save(figure: "plt.Figure", path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
