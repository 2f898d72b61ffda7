"""A home: the folder with data, logs and secrets of one stack; who holds it, and what runs in it."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.native.errors import StackError
from deploy.native.parts import REPO


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
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"the shop runs already (pid {holder(home)}, data in {home}): `make status` shows it, "
                "`make stop` ends it. A second one needs its own ABACUS_HOME and ports."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def holder(home: Path) -> int | None:
    """Return the pid of the process that holds a home, None when nobody does."""
    try:
        with (home / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int((home / "lock").read_text() or 0)
    return None


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
