"""The benchmark runs: as short as it can be, for its figures to be there and its audits to pass, not for their size."""

from collections.abc import AsyncIterator

import pytest

from tests.bench import plots, table
from tests.bench.results import Results, Sample
from tests.bench.scenarios import DOORS, FAST, Scenarios, Size
from tests.bench.stand import Stand, standing

SIZE = Size(seconds=0.6, warm_s=0.2, rounds=1, overload_s=1, late_orders=500, past_orders=(300, 600), clients=(8,))


@pytest.fixture(scope="module")
async def stand() -> AsyncIterator[Stand]:
    """One for all."""
    async with standing() as stand:
        yield stand


@pytest.mark.parametrize(
    ("name", "way"), [("mix", FAST), ("steady", DOORS[1]), ("store", "64"), ("expiry", FAST), ("pgbench", "hot")]
)
async def test_a_scenario_is_measured(
    stand: Stand, name: str, way: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its figures are there, nothing was refused, the books are right; the table and the pictures can be made of it."""
    sample = await Scenarios(stand, SIZE).all[name][way]()
    assert (name, way) == (sample.scenario, sample.way)
    assert sample.figures["per_s"] > 0
    assert 0 == sample.figures.get("refused", 0)
    results = Results()
    results.add(sample)
    assert f"| {name}, {way} |" in table.text(results)
    plots.draw(results, tmp_path_factory.mktemp("plots"))


def test_each_row_of_the_table_names_what_is_measured() -> None:
    """A row of a scenario or a way that does not exist would never be filled, and nobody would see it."""
    ways = {(name, way) for name, ways in Scenarios(None, SIZE).all.items() for way in ways}  # type: ignore[arg-type]
    named = {place[:2] for row in table.ROWS for place in (row.of, row.to) if place}
    assert set() == named - ways


def test_ratios_are_made_within_a_round_and_kept_in_files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The median of the ratios, not the ratio of the medians; a file gives the same results again."""
    results = Results()
    for number, (ours, theirs) in enumerate([(200.0, 100.0), (90.0, 30.0), (100.0, 100.0)]):
        results.add(Sample("uniform", FAST, number, {"per_s": ours}))
        results.add(Sample("pgbench", "uniform", number, {"per_s": theirs}))
    row = table.ROWS[0]
    seen = row.measured(results)
    assert seen
    assert (2.0, 1.0, 3.0) == (seen.median, seen.low, seen.high)
    assert "moonshot" == row.verdict(seen)
    assert "2 (1–3)" in table.text(results)
    path = tmp_path_factory.mktemp("results") / "some" / "file.json"
    results.save(path)
    assert results.samples == Results.load(path).samples
