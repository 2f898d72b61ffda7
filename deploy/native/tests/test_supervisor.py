"""run-all as a person meets it: real processes, own home and ports."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.native import stack
from deploy.native.__main__ import ports
from deploy.native.errors import StackError
from deploy.native.home import read_state, scratch_home
from deploy.native.parts import REPO, setting

WITHIN_S = 20.0


class Terminal:
    """A person's terminal: the commands of one home, with free ports."""

    def __init__(self, home: Path):
        self.home = home
        self.ports = stack.free_ports()
        self.env = {
            **os.environ,
            "ABACUS_HOME": str(home),
            **{setting(name): str(port) for name, port in self.ports.items()},
        }
        self.screen = home / "screen"

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.native", *words],
            env=self.env, cwd=REPO, capture_output=True, text=True, timeout=WITHIN_S, check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def run_all(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start run-all with PostgreSQL alone; wait until it says ready."""
        with self.screen.open("w") as screen:
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy.native", "run-all", *(words or ("--only", "postgres"))],
                env=self.env, cwd=REPO, stdout=screen, stderr=screen,
            )  # fmt: skip
        try:
            self.await_screen(r"\bready\b")
            yield process
        finally:
            process.terminate()
            process.wait(WITHIN_S)

    def await_screen(self, pattern: str) -> None:
        """Wait until run-all has printed something."""
        wait_until(lambda: re.search(pattern, self.screen.read_text()) is not None, self.screen.read_text)

    def children(self) -> list[psutil.Process]:
        """Return the long-running processes of the stack that live, with their children."""
        found = [psutil.Process(process.pid) for process in read_state(self.home).processes.values()]
        return [child for process in found for child in (process, *process.children(recursive=True))]


def wait_until(true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    ends = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < ends, otherwise()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    """One home for all: each test leaves it stopped, and making a data folder takes longer than starting."""
    with scratch_home() as home:
        yield Terminal(home)


def test_it_says_ready_and_sigterm_leaves_no_process(terminal: Terminal) -> None:
    """`ready` comes with seconds and memory; after SIGTERM nothing of the stack lives and the exit code is 0."""
    with terminal.run_all() as process:
        children = terminal.children()
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(WITHIN_S)
    assert len(children) > 1
    assert [] == [child for child in children if child.is_running()]
    assert re.search(r"^ready   \d+\.\d s after the downloads ended$", terminal.screen.read_text(), re.MULTILINE)
    assert re.search(r"in all +\d+ MB", terminal.screen.read_text())


def test_a_second_run_all_is_refused(terminal: Terminal) -> None:
    """Two supervisors never share a home: the second says who runs, and ends with an error."""
    with terminal.run_all() as process:
        second = terminal.command("run-all", "--only", "postgres")
    assert 1 == second.returncode
    assert f"the shop runs already (pid {process.pid}" in second.stdout


def test_a_port_in_use_names_the_setting(terminal: Terminal) -> None:
    """Who finds a port taken learns which port, whose, and the setting that moves it; nothing stays behind."""
    with socket.create_server(("127.0.0.1", terminal.ports["postgres"])):
        refused = terminal.command("run-all", "--only", "postgres")
    assert 1 == refused.returncode
    assert f"port {terminal.ports['postgres']} (postgres) is in use" in refused.stdout
    assert "ABACUS_POSTGRES_PORT" in refused.stdout


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ABACUS_LOMS_PORT", "many", "ABACUS_LOMS_PORT must be a port (1 to 65535), not 'many'."),
        ("ABACUS_LOMS_PORT", "70000", "ABACUS_LOMS_PORT must be a port (1 to 65535), not '70000'."),
        ("ABACUS_SMS_PORT", "1", "ABACUS_SMS_PORT and ABACUS_SMTP_PORT are both 1; each needs its own port."),
    ],
)
def test_ports_that_cannot_be_are_refused(name: str, value: str, said: str) -> None:
    """A port that is none, or that two parts share, is refused by the setting's name."""
    with pytest.raises(StackError) as refused:
        ports({"ABACUS_SMTP_PORT": "1", name: value})
    assert said == str(refused.value)


def test_a_killed_process_is_restarted_and_keeps_its_data(terminal: Terminal) -> None:
    """PostgreSQL killed with -9 comes back by itself, visibly, with what was committed; status fails meanwhile."""
    with terminal.run_all():
        assert 0 == terminal.command("status").returncode
        before = read_state(terminal.home).processes["postgres"]
        os.kill(before.pid, signal.SIGKILL)
        terminal.await_screen(r"postgres died \(killed by SIGKILL\)")
        terminal.await_screen(r"postgres is back")
        wait_until(lambda: read_state(terminal.home).processes["postgres"].restarts == 1, terminal.screen.read_text)
        status = terminal.command("status")
        assert 0 == status.returncode, status.stdout
        assert before.pid != read_state(terminal.home).processes["postgres"].pid


def test_nothing_outlives_a_killed_supervisor(terminal: Terminal) -> None:
    """After kill -9 of run-all its processes end by themselves, and the next run-all starts at once."""
    with terminal.run_all() as process:
        children = terminal.children()
        process.kill()
        gone, alive = psutil.wait_procs(children, timeout=WITHIN_S)
        assert [] == alive
        assert len(gone) > 1
    with terminal.run_all():
        assert 0 == terminal.command("status").returncode


def test_stop_ends_it_from_another_terminal(terminal: Terminal) -> None:
    """`stop` returns when everything has ended; `status` then says so and fails, and `stop` again is no error."""
    with terminal.run_all() as process:
        stopped = terminal.command("stop")
        assert 0 == stopped.returncode, stopped.stdout
        assert 0 == process.wait(WITHIN_S)
    status = terminal.command("status")
    assert 1 == status.returncode
    assert "the shop does not run" in status.stdout
    assert 0 == terminal.command("stop").returncode


def test_reset_clears_data_but_never_of_a_running_shop(terminal: Terminal) -> None:
    """`reset` is refused while the shop runs; afterwards no data, log or password is left."""
    with terminal.run_all():
        assert 1 == terminal.command("reset").returncode
        assert (terminal.home / "postgres").exists()
    assert 0 == terminal.command("reset").returncode
    assert ["lock"] == [path.name for path in terminal.home.iterdir()]
