"""run-all as a person meets it: real processes, own home and ports."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaProducer

from abacus.identity.v1 import events_pb2
from deploy import seed
from deploy.native import home, postgres, stack
from deploy.native.__main__ import ports
from deploy.native.errors import StackError
from deploy.native.home import read_state, scratch_home
from deploy.native.parts import REPO, setting
from kit import json as event_json

CONTACT_TOPIC = "abacus.identity.contact.v1"
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
    def run_all(self, *words: str, await_ready: bool = True) -> Iterator[subprocess.Popen[bytes]]:
        """Start run-all, with PostgreSQL alone if nothing else is said; wait until it says ready."""
        with self.screen.open("w") as screen:
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy.native", "run-all", *(words or ("--only", "postgres"))],
                env=self.env, cwd=REPO, stdout=screen, stderr=screen,
            )  # fmt: skip
        try:
            if await_ready:
                self.await_screen(r"\bready\b")
            yield process
        finally:
            process.terminate()
            process.wait(WITHIN_S)

    def await_screen(self, pattern: str) -> None:
        """Wait until run-all has printed something."""
        wait_until(lambda: re.search(pattern, self.screen.read_text()) is not None, self.screen.read_text)

    def replayed(self) -> dict[str, float]:
        """Run `replay`; return what notifications answer; catalog is asked, too."""
        done = self.command("replay")
        assert 0 == done.returncode, done.stderr
        answers: dict[str, dict[str, float]] = json.loads(done.stdout)
        assert {"notifications", "catalog"} == set(answers)
        return answers["notifications"]

    def children(self) -> list[psutil.Process]:
        """Return the long-running processes of the stack that live, with their children."""
        found = [psutil.Process(process.pid) for process in read_state(self.home).processes.values()]
        return [child for process in found for child in (process, *process.children(recursive=True))]


def seed_contact() -> bytes:
    return event_json.dumps(events_pb2.Contact(**seed.customers()[0])).encode()


def wait_until(true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    ends = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < ends, otherwise()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    """One home for all: each test leaves it stopped, and making a data folder takes longer than starting."""
    with scratch_home() as folder:
        yield Terminal(folder)


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


def test_a_second_signal_kills_what_is_only_starting(tmp_path: Path) -> None:
    """A part that hangs before it is healthy holds up the first Ctrl-C, but not the second."""
    terminal = Terminal(tmp_path)
    with terminal.run_all("--only", "mailbox", await_ready=False) as process:
        wait_until((tmp_path / "logs" / "mailbox.log").exists, terminal.screen.read_text)
        (starting,) = psutil.Process(process.pid).children()
        starting.suspend()
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        process.wait(3)
        assert not starting.is_running()


def test_a_pid_is_believed_only_of_who_holds_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between taking a home and saying so its file is empty, or names one that was killed: nobody is signalled."""
    monkeypatch.setattr(home, "HOLDER_KNOWN_WITHIN_S", 0.1)
    with home.claimed(tmp_path):
        mine = (tmp_path / "lock").read_text()
        assert os.getpid() == home.holder(tmp_path)
        for left in ("", "0", "1", "1 1", str(os.getpid()), f"{os.getpid()} 1"):
            (tmp_path / "lock").write_text(left)
            with pytest.raises(StackError, match="about to start or to stop"):
                home.holder(tmp_path)
        (tmp_path / "lock").write_text(mine)
        assert os.getpid() == home.holder(tmp_path)
    assert home.holder(tmp_path) is None


async def test_status_says_what_is_not_delivered_and_replay_tries_again(terminal: Terminal) -> None:
    """A dead letter and a consumer that hangs are faults; `replay` handles the letter when its cause is gone."""
    with terminal.run_all("--only", "notifications", "--only", "catalog"):
        assert 0 == terminal.command("status").returncode
        async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{terminal.ports['kafka']}") as producer:
            await producer.send_and_wait(CONTACT_TOPIC, b"{broken", key=b"7")
            wait_until(lambda: 1 == terminal.command("status").returncode, lambda: "no fault")
            status = terminal.command("status")
            assert (
                "wrong: notifications: dead_letters is 1 (the table of that name says why, `make replay`"
                in status.stdout
            )

            assert {"replayed": 0, "dead_letters": 1}.items() <= terminal.replayed().items()
            database = postgres.url(terminal.home, terminal.ports["postgres"], "notifications", "notifications")
            conn = await asyncpg.connect(database)
            await conn.execute("UPDATE dead_letters SET payload = $1", seed_contact())
            await conn.close()
            assert {"replayed": 1, "dead_letters": 0}.items() <= terminal.replayed().items()
            assert 0 == terminal.command("status").returncode

            hanging = psutil.Process(read_state(terminal.home).processes["notifications"].pid)
            hanging.suspend()
            await producer.send_and_wait(CONTACT_TOPIC, seed_contact(), key=b"1")
            status = terminal.command("status")
            hanging.resume()
        assert 1 == status.returncode
        assert "wrong: notifications is not healthy" in status.stdout
        assert "wrong: notifications: 1 messages wait, none was handled for 2 s" in status.stdout


def test_reset_clears_data_but_never_of_a_running_shop(terminal: Terminal) -> None:
    """`reset` is refused while the shop runs; afterwards no data, log or password is left, and what is not ours is."""
    (terminal.home / "photos").mkdir()
    (terminal.home / "diary.txt").touch()
    with terminal.run_all():
        assert 1 == terminal.command("reset").returncode
        assert (terminal.home / "postgres").exists()
    reset = terminal.command("reset")
    assert 0 == reset.returncode
    assert "not deleted, because no shop made it: diary.txt, photos, screen" in reset.stdout
    assert {"lock", "diary.txt", "photos", "screen"} == {path.name for path in terminal.home.iterdir()}


def test_reset_deletes_nothing_where_no_shop_ran(tmp_path: Path) -> None:
    """A folder that was named by mistake keeps even what is called as a shop's data is."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "secrets").mkdir()
    assert 0 == Terminal(tmp_path).command("reset").returncode
    assert {"logs", "secrets"} == {path.name for path in tmp_path.iterdir()}


def test_make_call_takes_any_text() -> None:
    """Quotes, dollars and blanks in a request or header reach the call as they were typed."""
    request, header = """{"name_en": "O'Brien's $5 \\"book\\" `x`"}""", "note: it's $HOME"
    told = subprocess.run(
        [
            "make", "--silent", "--old-file=.venv/.ready", "call",
            "NATIVE=printf '%s\\n'", "m=M", f"d={request}", f"h={header}",
        ],
        cwd=REPO, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ["call", "M", "--data", request, "--header", header] == told.stdout.splitlines()
