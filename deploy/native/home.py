"""A home: the folder with data, logs and secrets of one stack; who holds it, and what runs in it."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from deploy.native.errors import StackError
from deploy.native.parts import REPO

# All that a stack makes in its home, besides the file `lock`.
MADE = ("postgres", "postgres-new-*", "kafka", "gateway", "logs", "secrets", "seed", "state.json", "state.new")
HOLDER_KNOWN_WITHIN_S = 2.0


@dataclass(frozen=True)
class Running:
    """What another terminal may know of a process."""

    pid: int
    started_at: float  # seconds since the epoch
    restarts: int


@dataclass(frozen=True)
class State:
    """What a supervisor tells other terminals."""

    supervisor: int  # its pid
    parts: list[str]  # what it was told to run
    ports: dict[str, int]
    processes: dict[str, Running]


@contextlib.contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Hold a home: one stack a folder. The kernel gives it free however the holder ends.

    Raises:
        StackError: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a+") as lock:
        while not _taken(lock):
            if pid := holder(home):
                raise StackError(
                    f"the shop runs already (pid {pid}, data in {home}): `make status` shows it, "
                    "`make stop` ends it. A second one needs its own ABACUS_HOME and ports."
                )
        lock.truncate(0)
        lock.write(f"{os.getpid()} {_began('self')}")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _taken(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # by a stack, or by somebody who looks whether there is one
    return True


def holder(home: Path) -> int | None:
    """Return the pid of the process that holds a home, None when nobody does.

    Raises:
        StackError: somebody took it, and has not said for HOLDER_KNOWN_WITHIN_S who.
    """
    patience_ends = time.monotonic() + HOLDER_KNOWN_WITHIN_S
    while time.monotonic() < patience_ends:
        try:
            with (home / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            # New holders have not written yet, and what stands there may be of one that was killed.
            pid, _, began = (home / "lock").read_text().partition(" ")
            if began and began == _began(pid):
                return int(pid)
        else:
            return None
        time.sleep(0.05)
    raise StackError("the shop is about to start or to stop; try again in a moment.")


def _began(pid: str) -> str:
    """Return when a process began, in ticks since boot; "" when there is none. A pid may come again, not with this."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def clear(home: Path) -> list[str]:
    """Delete what stacks made in a home, and nothing else; return the names of what is left there.

    Raises:
        StackError: one runs in it.
    """
    # Where none ever ran, `logs` or `secrets` are somebody else's.
    if (home / "lock").exists():
        with claimed(home):
            for path in (path for name in MADE for path in home.glob(name)):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    return sorted(path.name for path in home.glob("*") if path.name != "lock")


@contextlib.contextmanager
def scratch_home(parent: Path = REPO / ".abacus-test") -> Iterator[Path]:
    """Make a home that is removed at the end; those that killed runs left behind are removed too.

    Beside each lies a file that is locked for as long as its maker lives, whether a stack runs in the home or not.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        with (parent / "lock").open("w") as making:
            fcntl.flock(making, fcntl.LOCK_EX)
            for alive in parent.glob("*.alive"):
                with alive.open() as left, contextlib.suppress(BlockingIOError):
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(alive.with_suffix(""), ignore_errors=True)
                    alive.unlink()
            home = Path(tempfile.mkdtemp(dir=parent))
            alive = home.with_suffix(".alive")
            fcntl.flock(held.enter_context(alive.open("w")), fcntl.LOCK_EX)
        home.chmod(0o755)
        try:
            yield home
        finally:
            shutil.rmtree(home, ignore_errors=True)
            alive.unlink()


def state_file(home: Path) -> Path:
    """Return the file in which a supervisor tells other terminals what runs; gone when it ended in order."""
    return home / "state.json"


def write_state(home: Path, state: State) -> None:
    """Tell other terminals what runs."""
    draft = state_file(home).with_suffix(".new")
    draft.write_text(json.dumps(asdict(state)))
    draft.rename(state_file(home))


def read_state(home: Path) -> State:
    """Return what runs in a home.

    Raises:
        StackError: nothing does.
    """
    if holder(home) is None:
        raise StackError(f"the shop does not run (data in {home}); `make run-all` starts it.")
    try:
        raw = json.loads(state_file(home).read_text())
    except FileNotFoundError:
        raise StackError("the shop is about to start; ask again in a moment.") from None
    return State(**{**raw, "processes": {name: Running(**one) for name, one in raw["processes"].items()}})
