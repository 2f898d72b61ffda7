"""The part of requirements.lock that the image installs: its entries as they are, with their hashes, and no others.

`python deploy/docker/requirements.py psutil typer` prints the entries that the project's `dependencies` and these
packages need. It runs while the image is built, before anything is installed: standard library only.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==.*\n(?:[ ].*\n)*", re.MULTILINE)
# "# via" names who wants a package: one behind it, or several below it, each after "#" and three spaces.
_VIA = re.compile(r"^ +# (?:via |  )(?P<name>[A-Za-z0-9._-]+)$", re.MULTILINE)


def needed(lock: str, wanted: Iterable[str]) -> str:
    """Return the entries of these packages and of all that they need.

    A package that they need only on another system, or for an extra, may come too; one that is missing makes pip fail,
    because it asks for a hash of everything.

    Raises:
        KeyError: a package is not in the lock.
    """
    entries = {match["name"]: match[0] for match in _ENTRY.finditer(lock)}
    wanted_by = {name: {match["name"] for match in _VIA.finditer(entry)} for name, entry in entries.items()}
    found: set[str] = set()
    queue = [_name(requirement) for requirement in wanted]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        if name not in entries:
            raise KeyError(name)
        found.add(name)
        queue.extend(other for other, by in wanted_by.items() if name in by)
    return "".join(entry for name, entry in entries.items() if name in found)


def of_services(project: str) -> Iterator[str]:
    """The requirements of the services, without those of the project's extras."""
    yield from tomllib.loads(project)["project"]["dependencies"]


def _name(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


if __name__ == "__main__":
    print(
        needed(Path("requirements.lock").read_text(), [*of_services(Path("pyproject.toml").read_text()), *sys.argv[1:]])
    )
