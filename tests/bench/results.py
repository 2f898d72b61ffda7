"""What was measured: figures by scenario, way and round; and how two of them compare."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

Figures = dict[str, float]
Series = list[tuple[int, float]]  # see callers.Load


@dataclass(frozen=True)
class Sample:
    """One run: what was measured, in which of several ways, in which round."""

    scenario: str
    way: str
    round: int
    figures: Figures
    series: Series = field(default_factory=list)


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, and between what they lay."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        if self.low == self.high:
            return _short(self.median)
        return f"{_short(self.median)} ({_short(self.low)}–{_short(self.high)})"


def spread(values: Iterable[float]) -> Spread | None:
    """The spread of some values; None of none."""
    found = sorted(values)
    return Spread(median(found), found[0], found[-1]) if found else None


class Results:
    """All samples of a benchmark."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.about: dict[str, object] = {}

    def add(self, sample: Sample) -> None:
        """Keep one more."""
        self.samples.append(sample)

    def ways(self, scenario: str) -> list[str]:
        """The ways of a scenario, in the order in which they were measured first."""
        return list(dict.fromkeys(one.way for one in self.samples if one.scenario == scenario))

    def by_round(self, scenario: str, way: str, figure: str) -> dict[int, float]:
        """One figure by round; empty where it was not measured."""
        return {
            one.round: one.figures[figure]
            for one in self.samples
            if (one.scenario, one.way) == (scenario, way) and figure in one.figures
        }

    def spread(self, scenario: str, way: str, figure: str) -> Spread | None:
        """Of one figure over the rounds."""
        return spread(self.by_round(scenario, way, figure).values())

    def ratio(self, of: tuple[str, str, str], to: tuple[str, str, str]) -> Spread | None:
        """One figure by another (scenario, way, figure), round by round: both saw the same machine."""
        over, under = self.by_round(*of), self.by_round(*to)
        return spread(over[number] / under[number] for number in over if under.get(number))

    def save(self, path: Path) -> None:
        """Write all of it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"about": self.about, "samples": [asdict(one) for one in self.samples]}, indent=1))

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `save` wrote."""
        raw = json.loads(path.read_text())
        results = cls()
        results.about = raw["about"]
        results.samples = [Sample(**one) for one in raw["samples"]]
        return results


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
