"""The whole shop for tests across services, and the figures that they measure."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.native import stack
from tests.access.people import lenient_identity
from tests.sizes import SIZES
from tests.stacks import errors_logged, running

pytest.register_assert_rewrite("tests.audit")  # so that its asserts say what they saw, too

Figure = Callable[[str], None]
_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
async def shop() -> AsyncIterator[stack.Shop]:
    """The whole shop, one process a service; a test that stops something starts it again."""
    async with running() as shop:
        yield shop


@pytest.fixture(scope="session")
async def lenient(shop: stack.Shop) -> AsyncIterator[str]:
    """A process of identity whose limits let all of these through to what lies behind."""
    yield await lenient_identity(shop)
    await shop["identity-lenient"].stop()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Say what was measured: one line, shown at the end of the run."""
    lines = request.config.stash.setdefault(_FIGURES, [])
    return lambda text: lines.append(f"{request.node.name}: {text}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(SIZES.timeout_s))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.failed and item.path.is_relative_to(Path(__file__).parent):
        report.sections.append(("errors in the processes' logs", errors_logged()))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if lines := config.stash.get(_FIGURES, []):
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
