"""run-all: the whole stack in the foreground, restarted part by part when one dies, until it is told to end."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from deploy.native import report, stack
from deploy.native.home import Running, State, write_state
from deploy.native.parts import Part, chosen
from deploy.native.process import Process

RESTART_PAUSE_S = 0.5  # doubled with every death in a row …
RESTART_PAUSE_S_MAX = 30.0
STEADY_AFTER_S = 60.0  # … until it ran for this long


async def run_all(
    home: Path, ports: Mapping[str, int], env: Mapping[str, str], console: Console, only: Iterable[str] | None = None
) -> None:
    """Start everything, say `ready`, keep it running until SIGINT, SIGTERM or SIGHUP; a second one kills.

    Args:
        only: start only these parts and what they need.

    Raises:
        StackError: it runs already, a port is taken, or a part cannot start.
    """
    supervisor = _Supervisor(home, ports, console, chosen(only))
    main = asyncio.create_task(supervisor.run(env))
    told = 0

    def on_signal() -> None:
        nonlocal told
        told += 1
        if told == 1:
            main.cancel()
        else:
            _kill_all()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    try:
        await main
    except asyncio.CancelledError:
        console.print("stopped")


def _kill_all() -> None:
    """Kill all at once: also what is only starting, steps, and what those started."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


class _Supervisor:
    def __init__(self, home: Path, ports: Mapping[str, int], console: Console, parts: Mapping[str, Part]):
        self.home = home
        self.ports = dict(ports)
        self.console = console
        self.parts = dict(parts)
        self.up: dict[str, Process] = {}  # the long-running ones, once they were healthy
        self.done: set[str] = set()  # names of all parts that are healthy or done
        self.began = time.monotonic()
        self.progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self.line = self.progress.add_task("starting")

    async def run(self, env: Mapping[str, str]) -> None:
        """Run until cancelled."""
        self.progress.start()
        try:
            async with stack.running(
                self.home,
                parts=self.parts,
                ports=self.ports,
                env=env,
                on_download=self._downloaded,
                on_ready=self._ready,
            ) as shop:
                self.progress.stop()
                self._write_state()
                self.console.print(f"ready   {self._seconds():.1f} s after the downloads ended", style="bold green")
                report.overview(shop, self.console)
                try:
                    await asyncio.gather(*(self._keep_running(process) for process in self.up.values()))
                finally:
                    self.console.print("stopping …")
        finally:
            self.progress.stop()

    def _seconds(self) -> float:
        return time.monotonic() - self.began

    def _downloaded(self, done: int, total: int) -> None:
        self.began = time.monotonic()
        self.progress.update(self.line, description=f"downloading Kafka: {done} of {total} jars")
        if done == total:
            self._say(f"downloaded Kafka: {total} jars")
            self.progress.update(self.line, description="starting")

    def _ready(self, process: Process) -> None:
        part = self.parts[process.name]
        self.done.add(part.name)
        if not part.once:
            self.up[part.name] = process
            self._write_state()
        self._say(f"{self._seconds():5.1f} s  {part.name}")
        waiting = [
            name for name, other in self.parts.items() if name not in self.done and self.done.issuperset(other.after)
        ]
        self.progress.update(self.line, description="starting " + ", ".join(waiting))

    async def _keep_running(self, process: Process) -> None:
        pause_s = RESTART_PAUSE_S
        while True:
            code = await process.wait()
            if time.time() - process.started_at > STEADY_AFTER_S:
                pause_s = RESTART_PAUSE_S
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self._say(f"{process.name} died ({how}); starting it again in {pause_s:g} s", style="bold red")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_PAUSE_S_MAX)
            process.restarts += 1
            try:
                await process.start()
            except Exception as error:  # whatever it is: the next try may succeed
                self._say(f"{error}\n(all of it: {process.log})", style="red")
            else:
                self._say(f"{process.name} is back (pid {process.pid})", style="green")
            self._write_state()

    def _say(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _write_state(self) -> None:
        processes = {
            name: Running(process.pid, process.started_at, process.restarts) for name, process in self.up.items()
        }
        write_state(self.home, State(os.getpid(), list(self.parts), self.ports, processes))
