"""One child process: started, its output kept in files that rotate, waited for until it can serve, stopped, killed.

Children are started through setpriv(1), because it sets the parent-death signal between fork and exec without running
Python there (which may deadlock in a process that has threads). So nothing outlives a supervisor that is killed.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path

from deploy.native.errors import StackError

LOG_BYTES_MAX = 10_000_000  # of one file; with the files kept, at most 40 MB a process
LOG_FILES_KEPT = 3
TAIL_LINES = 15  # shown when a process fails
PROBE_PAUSE_S = 0.05
PROBE_TIMEOUT_S = 5.0

Probe = Callable[[], Awaitable[None]]  # returns when the process can serve, raises while it cannot


async def nothing() -> None:
    """Say that a process which has no health check is healthy."""


class Process:
    """A program that is meant to run until it is stopped.

    Args:
        argv: the program and its arguments.
        env: its whole environment.
        log: file for its standard output and error; older parts are kept beside it as .1, .2, .3.
        privileges: options of setpriv that change who it runs as.
        probe: raises until the process can serve.
        before: what must be done before each start (a data folder made, remnants of a killed run gone).
        after: what must be done once it is healthy (accounts, topics); part of `start`.
        stop_signal: asks it to end by itself.
        orphan_signal: what it gets when the supervisor dies.
        start_within_s: bound for becoming healthy.
        stop_within_s: bound for ending by itself; then it is killed.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        privileges: Sequence[str] = (),
        probe: Probe = nothing,
        before: Callable[[], Awaitable[None]] = nothing,
        after: Callable[[], Awaitable[None]] = nothing,
        stop_signal: signal.Signals = signal.SIGTERM,
        orphan_signal: signal.Signals = signal.SIGKILL,
        start_within_s: float = 60.0,
        stop_within_s: float = 10.0,
    ):
        self.name = name
        self.argv = list(argv)
        self.env = dict(env)
        self.cwd = cwd
        self.log = log
        self.privileges = list(privileges)
        self.probe = probe
        self.before = before
        self.after = after
        self.stop_signal = stop_signal
        self.orphan_signal = orphan_signal
        self.start_within_s = start_within_s
        self.stop_within_s = stop_within_s
        self.restarts = 0
        self.started_at = 0.0  # seconds since the epoch
        self._child: asyncio.subprocess.Process | None = None
        self._pump: asyncio.Task[None] | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def pid(self) -> int:
        """The process id; of the last run when it does not run, 0 before the first."""
        return self._child.pid if self._child else 0

    @property
    def running(self) -> bool:
        """Whether the operating system still has it."""
        return self._child is not None and self._child.returncode is None

    @property
    def tail(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._tail)

    async def start(self) -> None:
        """Start it and return when it is healthy.

        Raises:
            StackError: it ended instead, or was not healthy in time; with the last lines of its log.
        """
        if self.running:
            return
        await self.before()
        await self._spawn()
        try:
            async with asyncio.timeout(self.start_within_s):
                await self._until_healthy()
        except TimeoutError:
            await self.stop()
            raise StackError(f"{self.name} was not ready within {self.start_within_s:g} s.\n{self.tail}") from None
        await self.after()

    async def run(self) -> None:
        """Run a one-off step to its end.

        Raises:
            StackError: it failed; with the last lines of its log.
        """
        await self.before()
        await self._spawn()
        try:
            code = await self.wait()
        except asyncio.CancelledError:
            await self.stop()
            raise
        if code != 0:
            raise StackError(f"{self.name} failed with exit code {code}.\n{self.tail}")

    async def wait(self) -> int:
        """Wait until it ends and all its output is written; return its exit code (−n: killed by signal n)."""
        assert self._child is not None
        code = await self._child.wait()
        if self._pump is not None:
            # A grandchild may hold the pipe open for a moment longer.
            await asyncio.wait([self._pump], timeout=1.0)
        return code

    async def healthy(self) -> bool:
        """Ask it once whether it can serve."""
        if not self.running:
            return False
        try:
            await asyncio.wait_for(self.probe(), PROBE_TIMEOUT_S)
        except Exception:  # whatever a probe fails with, the answer is no
            return False
        return True

    async def stop(self) -> None:
        """Ask it to end; kill it when it does not within its bound."""
        if not self.running:
            return
        assert self._child is not None
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(self.stop_signal)
        try:
            await asyncio.wait_for(self._child.wait(), self.stop_within_s)
        except TimeoutError:
            await self.kill()
        await self.wait()

    async def kill(self) -> None:
        """End it at once (SIGKILL), with everything it started; return when it is gone."""
        if self.running:
            self.send_kill()
            await self.wait()

    def send_kill(self) -> None:
        """Send SIGKILL to it and to everything it started."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._tail.clear()
        try:
            self._child = await asyncio.create_subprocess_exec(
                "setpriv", "--pdeathsig", self.orphan_signal.name.removeprefix("SIG"), *self.privileges, "--",
                *self.argv,
                env=self.env,
                cwd=self.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is the supervisor's to answer
            )  # fmt: skip
        except FileNotFoundError:
            raise StackError("setpriv is missing; it belongs to the package util-linux of your system.") from None
        self.started_at = time.time()
        assert self._child.stdout is not None
        self._pump = asyncio.create_task(self._keep_output(self._child.stdout))

    async def _until_healthy(self) -> None:
        assert self._child is not None
        ended = asyncio.create_task(self._child.wait())
        try:
            while not await self.healthy():
                await asyncio.wait([ended], timeout=PROBE_PAUSE_S)
                if ended.done():
                    code = await self.wait()
                    raise StackError(f"{self.name} ended with exit code {code} before it was ready.\n{self.tail}")
        finally:
            ended.cancel()

    async def _keep_output(self, output: asyncio.StreamReader) -> None:
        """Copy the output into the log files; whole lines, so that a rotation never cuts one."""
        rest = ""
        handler = RotatingFileHandler(self.log, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8")
        handler.terminator = ""
        with contextlib.closing(handler):
            while chunk := await output.read(65536):
                text = rest + chunk.decode(errors="replace")
                lines, newline, rest = text.rpartition("\n")
                if newline:
                    self._tail.extend(lines.splitlines()[-TAIL_LINES:])
                    handler.emit(logging.makeLogRecord({"msg": lines + newline}))
            if rest:
                self._tail.append(rest)
                handler.emit(logging.makeLogRecord({"msg": rest + "\n"}))
