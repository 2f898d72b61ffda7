"""python -m deploy.native: start the shop, look into it, stop it. `make help` lists the same commands."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from deploy.native import keys, postgres, report, stack, supervisor
from deploy.native.errors import StackError
from deploy.native.home import clear, holder, read_state
from deploy.native.parts import CONSUMERS, PARTS, PORTS, REPO, SEEDS, SERVICES, TOPICS, chosen, setting
from deploy.native.topic import print_events

STOP_WITHIN_S = 45.0

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
console = Console(highlight=False)


def home() -> Path:
    """Return the folder of the shop's data, logs and secrets."""
    return Path(os.environ.get("ABACUS_HOME") or REPO / ".abacus").resolve()


def ports(environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Return all ports as set by ABACUS_…_PORT.

    Raises:
        StackError: one is not a port, or two are the same.
    """
    chosen_ports: dict[str, int] = {}
    for name, default in PORTS.items():
        text = environment.get(setting(name)) or str(default)
        if not text.isdecimal() or not 0 < int(text) < 65536:
            raise StackError(f"{setting(name)} must be a port (1 to 65535), not {text!r}.")
        for other, port in chosen_ports.items():
            if port == int(text):
                raise StackError(f"{setting(name)} and {setting(other)} are both {port}; each needs its own port.")
        chosen_ports[name] = int(text)
    return chosen_ports


def _running_shop() -> stack.Shop:
    """The shop that runs, seen from this terminal."""
    return stack.Shop(home(), read_state(home()).ports, PARTS, stack.service_settings(os.environ))


@app.command()
def run_all(
    only: Annotated[
        list[str] | None, typer.Option(help="start only this part and what it needs; may be repeated")
    ] = None,
) -> None:
    """Start everything in the foreground; Ctrl-C ends it."""
    if unknown := set(only or []) - set(PARTS):
        raise StackError(f"there is no part {', '.join(unknown)}; there are: {', '.join(PARTS)}.")
    asyncio.run(supervisor.run_all(home(), ports(), stack.service_settings(os.environ), console, only))


@app.command()
def stop() -> None:
    """End what run-all started."""
    pid = holder(home())
    if pid is None:
        console.print("the shop does not run")
        return
    began = time.monotonic()
    with contextlib.suppress(ProcessLookupError):  # it ended just now
        os.kill(pid, signal.SIGTERM)
    while holder(home()) == pid:
        if time.monotonic() - began > STOP_WITHIN_S:
            raise StackError(f"the shop (pid {pid}) has not ended within {STOP_WITHIN_S:g} s; see `make logs`.")
        time.sleep(0.1)
    console.print(f"stopped in {time.monotonic() - began:.1f} s")


@app.command()
def status() -> None:
    """Show each process and what the services say; fail when something is wrong."""
    state = read_state(home())
    wrong = asyncio.run(report.status(_running_shop(), state, console))
    for line in wrong:
        console.print(f"wrong: {line}", style="bold red", markup=False, soft_wrap=True)
    if wrong:
        raise typer.Exit(1)
    console.print("all is well", style="green")


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="process or step; default: all of them")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n")] = 30,
) -> None:
    """Print the end of the logs."""
    files = sorted((home() / "logs").glob(f"{name or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in (home() / "logs").glob("*.log"))) or "none yet"
        raise StackError(f"no log of {name or 'any process'}; there are: {known}.")
    os.execvp("tail", ["tail", f"--lines={lines}", *(["-F"] if follow else []), *map(str, files)])  # noqa: S606


@app.command()
def seed() -> None:
    """Load goods, stock and customers into the running shop; a repeat changes nothing."""

    async def load(shop: stack.Shop) -> None:
        for name in chosen(SEEDS):
            if name in SEEDS:
                await shop[name].run()
                console.print(f"done: {name}")

    asyncio.run(load(_running_shop()))


@app.command()
def replay() -> None:
    """Handle again the events that services could not handle, and send again what could not be sent."""
    shop, told = _running_shop(), {}
    for service in [name for name in CONSUMERS if name in read_state(home()).parts]:
        command = [sys.executable, "-m", service, "replay"]
        done = subprocess.run(command, env=shop.environment(shop.env(service)), stdout=subprocess.PIPE, check=False)
        if done.returncode:
            raise StackError(f"{service} could not replay, it says why above.")
        told[service] = json.loads(done.stdout)
    print(json.dumps(told))


@app.command()
def reset() -> None:
    """Delete all data, logs and passwords; what was downloaded stays."""
    left = clear(home())
    console.print(f"no shop is left in {home()}; the next run-all starts a new one", markup=False, soft_wrap=True)
    if left:
        console.print(f"not deleted, because no shop made it: {', '.join(left)}", markup=False, soft_wrap=True)


@app.command()
def psql(service: Annotated[str, typer.Argument(help=" | ".join(SERVICES))]) -> None:
    """Open a SQL prompt on a service's database, with the service's own login."""
    if service not in SERVICES:
        raise StackError(f"{service} has no database; these have: {', '.join(SERVICES)}.")
    port = read_state(home()).ports["postgres"]
    password = postgres.password_file(home(), service).read_text()
    program = str(postgres.folder() / "bin" / "psql")
    address = f"host=127.0.0.1 port={port} dbname={service} user={service}"
    os.execve(program, [program, address], {**os.environ, "PGPASSWORD": password})  # noqa: S606


@app.command()
def topic(
    name: Annotated[str, typer.Argument(help=" | ".join(TOPICS))] = next(iter(TOPICS)),
    follow: Annotated[bool, typer.Option("--follow", "-f", help="wait for more events")] = False,
) -> None:
    """Print the events of a topic from the beginning."""
    asyncio.run(print_events(f"127.0.0.1:{read_state(home()).ports['kafka']}", name, follow=follow, console=console))


@app.command()
def token() -> None:
    """Print a token that every service of the running shop lets in, as the developer's own service: good for a day."""
    read_state(home())
    print(keys.local_token(home()))


@app.command()
def call(
    method: Annotated[str | None, typer.Argument(help="abacus.loms.v1.LomsService/Stocks; none: list all")] = None,
    data: Annotated[str, typer.Option("--data", "-d", help="the request as JSON")] = "{}",
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="metadata, name: value")] = None,
) -> None:
    """Call an RPC through reflection, as JSON; with the token of `token`, unless another one is given."""
    running = read_state(home()).ports
    if method is None:
        for service in SERVICES:
            listed = subprocess.run(
                _buf_curl(running[service], "", "--list-methods"), stdout=subprocess.PIPE, text=True, check=False
            )
            # Health and reflection are gRPC's own.
            print(
                "".join(line for line in listed.stdout.splitlines(keepends=True) if line.startswith("abacus.")), end=""
            )
        return
    service, _, rest = method.removeprefix("abacus.").partition(".")
    if service not in SERVICES or "/" not in rest:
        raise StackError(f"{method!r} is not a method of the shop; `make call` without m= lists them.")
    headers = [f"--header={value}" for value in header or []]
    if not any(value.lower().startswith("authorization:") for value in header or []):
        # Where others may see it, among the arguments of a program: good for one service, for a minute.
        headers.append(f"--header=authorization: Bearer {keys.service_key(home(), keys.LOCAL).token(service)}")
    command = _buf_curl(running[service], f"/{method}", "--emit-defaults", f"--data={data}", *headers)
    os.execv(command[0], command)  # noqa: S606


def _buf_curl(port: int, path: str, *options: str) -> list[str]:
    buf = str(Path(sys.executable).with_name("buf"))
    return [buf, "curl", "--protocol=grpc", "--http2-prior-knowledge", *options, f"http://127.0.0.1:{port}{path}"]


def main() -> None:
    """Run a command; say in plain words what is wrong."""
    # Clients that are asked whether a broker is there yet need not tell each time that it is not.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except StackError as error:
        console.print(str(error), style="bold red", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
