"""The benchmark of the doors runs: short, for its own sake and not for its figures."""

from tests.bench.doors import measure


async def test_the_doors_are_measured() -> None:
    """Each way goes through, and only floods are refused."""
    figures = await measure(seconds=1, rounds=1)
    assert 10 == len(figures)
    assert all(figure.per_s > 0 for figure in figures)
    assert 0 == sum(figure.refused for figure in figures)
