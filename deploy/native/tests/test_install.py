"""Which Python install.sh makes the environment of. The Pythons are real ones; nothing is downloaded."""

import subprocess
import venv
from pathlib import Path

import pytest

from deploy.native.parts import REPO

DISTRIBUTION = "/usr/bin/python3.11"
SUITS = ""
UNFIT = ["does not start", "no ensurepip", "no libpython", "static"]


class Machine:
    """A distribution's Python, those on the PATH, and a checkout whose environment was made of yet another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.script = root / "checkout/deploy/native/install.sh"
        self.script.parent.mkdir(parents=True)
        text = (REPO / "deploy/native/install.sh").read_text()
        assert DISTRIBUTION in text
        self.script.write_text(text.replace(DISTRIBUTION, str(root / "distribution")))
        venv.create(root / "checkout/.venv", symlinks=True)
        (root / "checkout/.venv/bin/uv").symlink_to("/bin/true")  # which packages are there is not asked here

    def python(self, name: str, fault: str) -> Path:
        """Put a Python, or one with a fault, at `name`; return what it says that it is."""
        home = self.root / f"{name}.home"
        venv.create(home, symlinks=False)
        library = "libpython.a" if fault == "static" else "libpython.so"
        # How this Python was built is read from here, and not from the one that runs the tests.
        (home / "build.py").write_text(f"build_time_vars = {{'LIBDIR': {str(home)!r}, 'INSTSONAME': {library!r}}}")
        if fault != "no libpython":
            (home / library).touch()
        if fault == "no ensurepip":
            (home / "ensurepip.py").write_text("raise ImportError")
        start = f'export PYTHONPATH={home} _PYTHON_SYSCONFIGDATA_NAME=build\nexec {home}/bin/python "$@"'
        link = self.root / name
        link.write_text("#!/bin/sh\n" + ("exit 127" if fault == "does not start" else start))
        link.chmod(0o755)
        return (home / "bin/python").resolve()

    def install(self, *named: str) -> subprocess.CompletedProcess[str]:
        """Run install.sh with the Python that is named, or none."""
        path = {"PATH": f"{self.root}:/usr/bin:/bin"}
        return subprocess.run(["/bin/sh", self.script, *named], env=path, capture_output=True, text=True, check=False)

    def taken(self, *named: str) -> Path:
        """Return the Python that install.sh would make .venv of, by what it says of the .venv that is there."""
        told = self.install(*named)
        assert (0, "") == (told.returncode, told.stderr)
        return Path(told.stdout.partition("to have it use ")[2].partition(" (")[0])


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_distributions_python_comes_first(machine: Machine) -> None:
    """It is the faster build; what is first on the PATH comes after it."""
    distribution = machine.python("distribution", SUITS)
    machine.python("python3.11", SUITS)
    assert distribution == machine.taken()


@pytest.mark.parametrize("fault", UNFIT)
def test_a_python_that_lacks_something_is_passed_over(machine: Machine, fault: str) -> None:
    """Without venv the environment cannot be made, without a shared libpython the fast door cannot run."""
    machine.python("distribution", fault)
    machine.python("python3.11", fault)
    python3 = machine.python("python3", SUITS)
    assert python3 == machine.taken()


def test_without_a_suitable_python_the_first_on_the_path_is_taken(machine: Machine) -> None:
    """The shop runs without the fast door too."""
    first = machine.python("python3.11", "no libpython")
    machine.python("python3", "no libpython")
    assert first == machine.taken()


def test_the_python_that_is_named_is_taken(machine: Machine) -> None:
    """Whoever names one has a reason, be it as slow as it may."""
    machine.python("distribution", SUITS)
    named = machine.python("named", "no libpython")
    assert named == machine.taken(str(machine.root / "named"))


def test_a_wrong_name_is_an_error(machine: Machine) -> None:
    """No other is taken in its place."""
    machine.python("distribution", SUITS)
    told = machine.install("/nonexistent")
    assert 1 == told.returncode
    assert "No Python was found." in told.stderr


def test_an_environment_that_works_keeps_its_python(machine: Machine) -> None:
    """Shops and tests may be running from it."""
    machine.python("distribution", SUITS)
    before = (machine.script.parents[2] / ".venv/bin/python").resolve()
    assert f"keeping .venv, which uses {before} (" in machine.install().stdout
    assert before == (machine.script.parents[2] / ".venv/bin/python").resolve()
