"""The benchmark of search runs: short, for its own sake and not for its figures."""

from tests.bench import search


async def test_search_is_measured() -> None:
    """Every kind of list is asked for and answered, with stock."""
    figures = await search.run(calls=2, count=search.BATCH)
    assert 18 == len(figures)
    assert all(p99_ms > 0 for p99_ms in figures.values())
