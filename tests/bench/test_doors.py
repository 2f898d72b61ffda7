"""The benchmark of the doors runs: short, for its own sake and not for its figures."""

from tests.bench.doors import measure


async def test_the_doors_are_measured() -> None:
    """Each way goes through; logins are refused for what they are, at the gateway also because they are too many."""
    figures = await measure(seconds=1, rounds=1)
    assert 10 == len(figures)
    assert all(figure.per_s > 0 for figure in figures)
    assert [{}] * 10 == [figure.refused for figure in figures]
    at_the_gateway, unlimited = (set(figure.beside) for figure in figures[-2:])
    assert {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"} == at_the_gateway
    assert {"UNAUTHENTICATED"} <= unlimited <= {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}
