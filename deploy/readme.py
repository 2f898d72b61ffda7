"""The parts of README.md that are made: answers of a fresh shop, ports, settings.

`python -m deploy.readme` starts a shop of its own, makes the calls that the README shows, and writes what came back.
`--check` compares instead, and fails where the README says something else than the shop; times of day do not count.
"""

import difflib
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tenacity
import typer
from pydantic_settings import BaseSettings

from deploy.native.home import scratch_home
from deploy.native.parts import PORTS, REPO, SERVICES, setting
from deploy.native.stack import free_ports
from kit.calls import access_of
from kit.client import service_of
from kit.settings import ServiceSettings

README = REPO / "README.md"
READY_WITHIN_S = 120
SETTLED_WITHIN_S = 10  # messages are sent a moment after the order changed

_CALL = re.compile(
    r"^\$ (make call m=(?P<method>\S+) d='(?P<body>[^']*)'|(?P<curl>curl .*))\n(?P<answer>(?:[^$`\n].*\n)*)",
    re.MULTILINE,
)
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
# What else differs from shop to shop, and what is shown instead.
_SHORTENED = {
    r"eyJ[\w.-]+": "eyJ…",
    r"rt_[\w-]+": "rt_…",
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}": "01a1fe5e-…",
    r"curl/[\d.]+": "curl",
}

_MAPS = ("attributes",)

Environment = dict[str, str]


def fill(text: str, answers: list[str]) -> str:
    """Put answers, tables and lines in their places in the README's text."""
    left = iter(answers)
    text = _CALL.sub(lambda match: f"$ {match[1]}\n{next(left)}\n", text)
    bodies: dict[str, str] = {}
    for match in _CALL.finditer(text):
        if match["method"]:
            bodies.setdefault(match["method"], match["body"])
    text = _between(
        text,
        "grpcurl",
        "```sh\nTOKEN=$(make -s token)\n" + "\n".join(_grpcurl(*call) for call in bodies.items()) + "\n```",
    )
    text = _between(text, "ports", _table(("what", "port", "setting"), port_rows()))
    return _between(text, "settings", _table(("variable", "default", "what"), setting_rows()))


def _between(text: str, name: str, made: str) -> str:
    pattern = re.compile(rf"(<!-- made: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert pattern.search(text), f"the README has no place for {name}"
    return pattern.sub(lambda match: f"{match[1]}{made}\n{match[2]}", text)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _grpcurl(method: str, body: str) -> str:
    name = service_of(method)
    contract = importlib.import_module(f"abacus.{name}.v1.{name}_pb2").DESCRIPTOR
    service, _, rpc = method.rpartition("/")
    is_public = access_of(contract.services_by_name[service.rpartition(".")[2]].methods_by_name[rpc]).public
    token = "" if is_public else '-H "authorization: Bearer $TOKEN" '
    return f"grpcurl -plaintext {token}-d '{body}' 127.0.0.1:{PORTS[name]} {method}"


def port_rows() -> list[tuple[str, ...]]:
    """Each port of the stack and what sets it."""
    return [(name, str(port), f"`{setting(name)}`") for name, port in PORTS.items()]


def setting_rows() -> list[tuple[str, ...]]:
    """Each variable that a service reads; the common ones once, with … for the service's name.

    A service has a row of its own for a common one where its default is another.
    """
    common = ServiceSettings.model_fields
    rows = [_setting("…", name, ServiceSettings) for name in common]
    others = ("deploy.gateway.settings", "notifications.mailbox.__main__")
    for module in (*(f"{name}.settings" for name in SERVICES), *others):
        settings: type[BaseSettings] = importlib.import_module(module).Settings
        prefix = str(settings.model_config["env_prefix"]).removesuffix("_")
        inherited = common if issubclass(settings, ServiceSettings) else {}
        rows += [
            _setting(prefix, name, settings)
            for name, field in settings.model_fields.items()
            if name not in inherited or field.default != inherited[name].default
        ]
    return rows


def _setting(prefix: str, name: str, settings: type[BaseSettings]) -> tuple[str, ...]:
    field = settings.model_fields[name]
    default = "required" if field.is_required() else f"`{field.default}`" if field.default not in (None, "") else "none"
    return f"`{prefix}_{name.upper()}`", default, field.description or ""


@contextmanager
def fresh_shop() -> Iterator[Environment]:
    """Run `run-all` in a scratch home on free ports; give the environment in which its commands find it."""
    with scratch_home() as folder:
        ports = {setting(name): str(port) for name, port in free_ports().items()}
        environment = {**os.environ, **ports, "ABACUS_HOME": str(folder)}
        command = [sys.executable, "-m", "deploy.native", "run-all"]
        with (
            (folder / "run-all.txt").open("w+") as log,
            subprocess.Popen(command, env=environment, cwd=REPO, stdout=log, stderr=subprocess.STDOUT) as process,
        ):
            try:
                _until_ready(process, lambda: (folder / "run-all.txt").read_text())
                yield environment
            finally:
                process.terminate()


def _until_ready(process: subprocess.Popen, said: Callable[[], str]) -> None:
    for attempt in tenacity.Retrying(
        wait=tenacity.wait_fixed(0.1), stop=tenacity.stop_after_delay(READY_WITHIN_S), reraise=True
    ):
        if process.poll() is not None:
            raise RuntimeError(f"run-all ended:\n{said()}")
        with attempt:
            assert re.search("^ready", said(), re.MULTILINE), f"not ready within {READY_WITHIN_S} s:\n{said()}"


def ask(environment: Environment, method: str, body: str) -> str:
    """Make a call as `make call` does; its answer, or its error, as one line of JSON."""
    command = [sys.executable, "-m", "deploy.native", "call", method, "-d", body]
    done = subprocess.run(command, env=environment, cwd=REPO, capture_output=True, text=True, check=False)
    return json.dumps(json.loads(done.stdout or done.stderr), ensure_ascii=False)


def ask_all(environment: Environment, text: str) -> list[str]:
    """Make the README's calls in their order."""
    # The message of the last change comes a moment later: the README asks for a cancelled order's.
    settled = tenacity.Retrying(
        retry=tenacity.retry_if_result(
            lambda answer: not ("ORDER_STATUS_CANCELLED" in answer and "MESSAGE_STATUS_SENT" in answer)
        ),
        wait=tenacity.wait_fixed(0.2),
        stop=tenacity.stop_after_delay(SETTLED_WITHIN_S),
    )
    shell = Curl(environment)
    answers = []
    for match in _CALL.finditer(text):
        if match["curl"]:
            answers.append(shell.ask(match["curl"]))
        elif match["method"].endswith("/ListMessages"):
            answers.append(settled(ask, environment, match["method"], match["body"]))
        else:
            answers.append(ask(environment, match["method"], match["body"]))
    return answers


class Curl:
    """Runs the README's curl lines; ACCESS and ORDER are those of the last answer that had some."""

    def __init__(self, environment: Environment):
        self.environment = dict(environment)

    def ask(self, line: str) -> str:
        """Run a line against this shop; its answer as one line of JSON, without what differs from shop to shop."""
        port = self.environment[setting("gateway")]
        line = line.replace(f"127.0.0.1:{PORTS['gateway']}", f"127.0.0.1:{port}")
        done = subprocess.run(["bash", "-c", line], env=self.environment, capture_output=True, text=True, check=True)
        answer = json.loads(done.stdout, object_hook=_maps_in_order)
        for name, field in (("ACCESS", "accessToken"), ("ORDER", "orderId")):
            if field in answer:
                self.environment[name] = answer[field]
        shown = json.dumps(answer, ensure_ascii=False)
        for pattern, instead in _SHORTENED.items():
            shown = re.sub(pattern, instead, shown)
        return shown


def _maps_in_order(shown: dict[str, Any]) -> dict[str, Any]:
    """Envoy writes the entries of maps in another order each time."""
    return {name: dict(sorted(value.items())) if name in _MAPS else value for name, value in shown.items()}


def made(text: str) -> str:
    """The README as it should be, by a fresh shop."""
    with fresh_shop() as environment:
        return fill(text, ask_all(environment, text))


def differences(text: str, wanted: str) -> str:
    """What is not as it should be, but for times of day."""
    before, after = (_TIMES.sub("…", version).splitlines() for version in (text, wanted))
    return "\n".join(difflib.unified_diff(before, after, "README.md", "the shop", lineterm=""))


def main(check: bool = typer.Option(False, help="compare, write nothing")) -> None:
    """Make the README's answers and tables."""
    text = README.read_text()
    wanted = made(text)
    wrong = differences(text, wanted)
    if check and wrong:
        sys.exit(f"{wrong}\nREADME.md is not what the shop says; `python -m deploy.readme` writes it")
    if wrong:
        README.write_text(wanted)
    print("README.md is as the shop says" if not wrong else "README.md is written")


if __name__ == "__main__":
    typer.run(main)
