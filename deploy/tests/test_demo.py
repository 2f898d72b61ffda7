"""The demo, in a shop of its own: what a newcomer sees first must not be broken."""

from types import SimpleNamespace

import pytest

from deploy import demo
from deploy.native import home, stack
from kit.errors import Error


async def test_both_stories_go_well(capsys: pytest.CaptureFixture[str]) -> None:
    """A whole shop takes the demo twice: all calls, events and messages come, and unpaid stock is back."""
    with home.scratch_home() as folder:
        async with stack.running(folder) as shop:
            await demo.tell(shop)
            first = capsys.readouterr().out
            await demo.tell(shop)
            second = capsys.readouterr().out
            assert not shop["loms-demo"].running, "the demo leaves no process behind"
    for told in (first, second):
        assert "All of it went as it must" in told
        for word in ("ORDER_STATUS_PAID", "ORDER_STATUS_CANCELLED", "sms to +79000000001", "ORDER_NOT_PAYABLE"):
            assert word in told


async def test_says_who_does_not_answer() -> None:
    """Where a part of the shop is away, the demo names it instead of showing a traceback."""
    with home.scratch_home() as folder:
        nothing_runs = stack.Shop(folder, stack.free_ports(), {}, {})
        with pytest.raises(demo.StepFailedError, match=r"loms at 127\.0\.0\.1:\d+ does not answer"):
            await demo.tell(nothing_runs)


@pytest.mark.parametrize(
    "failure", [demo.StepFailedError("the order is not paid"), Error(5, "ORDER_NOT_FOUND", "there is no order 5")]
)
def test_a_step_that_fails_ends_the_demo(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    """The exit code is not 0 and the words are plain, whether a step or a call failed."""

    async def fail(running: stack.Shop) -> None:
        raise failure

    monkeypatch.setattr(demo, "tell", fail)
    monkeypatch.setattr(demo, "read_state", lambda _: SimpleNamespace(ports=stack.free_ports()))
    with pytest.raises(SystemExit, match=r"^the demo failed: .*order") as ended:
        demo.main()
    assert str(ended.value) == ended.value.code, "words as the code of an exit are printed, and the code is 1"
