"""`python -m tests.bench`: what the shop does a second, beside what the machine gives at best.

Prints the table of docs/performance.md; writes all figures as JSON, and with --plots the pictures of that page.
"""

import argparse
import asyncio
import os
import platform
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deploy.native.parts import REPO
from tests.bench import calibrate, plots, table
from tests.bench.results import Results
from tests.bench.scenarios import FAST, FULL, QUICK, Scenarios, Size
from tests.bench.stand import standing

# Those that say most, for a short look.
QUICK_NAMES = ("pgbench", "echo", "uniform", "hot", "store", "steady", "flash", "expiry")


async def measure(size: Size, names: list[str], results: Results) -> None:
    """Measure these scenarios (none: all), each way once a round, so that all of them see the same machine."""
    async with standing() as stand:
        scenarios = Scenarios(stand, size)
        chosen = names or list(scenarios.all)
        if unknown := set(chosen) - set(scenarios.all):
            sys.exit(f"no scenario {', '.join(unknown)}; there are {', '.join(scenarios.all)}")
        results.about |= await calibrate.check_callers(size.seconds / 2, size.warm_s)
        await scenarios.all["uniform"][FAST]()  # not counted: the broker's first calls are slow
        for number in range(size.rounds):
            scenarios.round = number
            for name in chosen:
                for way, run in scenarios.all[name].items():
                    began = time.monotonic()
                    sample = await run()
                    results.add(sample)
                    _say(f"round {number + 1}: {name}, {way}: {table.brief(sample)} ({time.monotonic() - began:.0f} s)")


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short look: fewer scenarios, one round")
    parser.add_argument("--only", help="scenarios, with commas; their names are in scenarios.py")
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--rounds", type=int, help="of each scenario")
    parser.add_argument("--overload-s", type=float, help="how long twice the maximum is asked for")
    parser.add_argument("--past", type=int, help="orders in the large table of the scenario growth")
    parser.add_argument("--out", type=Path, help="the JSON file; default: a new one in .abacus/bench")
    parser.add_argument("--plots", type=Path, help="folder for the pictures")
    parser.add_argument("--show", type=Path, help="print (and draw) a JSON file of before instead of measuring")
    given = parser.parse_args()
    if given.show:
        results = Results.load(given.show)
    else:
        base = QUICK if given.quick else FULL
        given_sizes = {"seconds": given.seconds, "rounds": given.rounds, "overload_s": given.overload_s}
        if given.past:
            given_sizes["past_orders"] = (base.past_orders[0], given.past)
        size = replace(base, **{name: value for name, value in given_sizes.items() if value})
        names = given.only.split(",") if given.only else list(QUICK_NAMES) if given.quick else []
        results = Results()
        began = datetime.now(UTC)
        results.about = {
            "at": began.isoformat(timespec="seconds"),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        out = given.out or REPO / ".abacus" / "bench" / f"{began:%Y%m%dT%H%M%S}.json"
        try:
            asyncio.run(measure(size, names, results))
        finally:
            if results.samples:
                results.save(out)
                _say(f"all figures: {out}")
    print(table.text(results))
    if given.plots:
        plots.draw(results, given.plots)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
