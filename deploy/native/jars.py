"""Kafka's jars: exactly those of deploy/kafka/jgo.lock.toml, downloaded once a machine and checked.

`python -m deploy.native.jars` resolves deploy/kafka/jgo.toml anew and writes the lock.
"""

import fcntl
import hashlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import requests
from jgo.env import EnvironmentSpec, LockedDependency, LockFile
from jgo.maven import MavenContext

from deploy.native.errors import StackError

FOLDER = Path(__file__).parents[1] / "kafka"
SPEC = FOLDER / "jgo.toml"
LOCK = FOLDER / "jgo.lock.toml"

Progress = Callable[[int, int], None]  # jars there, jars in all


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def class_path(progress: Progress = no_progress, given_up: threading.Event | None = None) -> list[Path]:
    """Return the jars' paths, in the order of the lock; download those that Maven's cache lacks.

    The cache is Maven's usual one (`~/.m2/repository`, or `M2_REPO`), so all clones and all tests share it.

    Args:
        progress: told whenever one more is there.
        given_up: when set from another thread, no further download begins.

    Raises:
        StackError: no network, or a jar is not the one that the lock names.
    """
    maven = MavenContext(timeout=20)
    locked = LockFile.load(LOCK).dependencies
    paths = [_cached(maven, jar) for jar in locked]
    if all(path.exists() for path in paths):
        return paths
    try:
        maven.repo_cache.mkdir(parents=True, exist_ok=True)
        # Two stacks of one machine may start at once; only one of them downloads.
        with (maven.repo_cache / ".abacus.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with ThreadPoolExecutor(max_workers=6) as pool:
                downloads = [pool.submit(_fetch, maven, jar) for jar in locked]
                try:
                    for done, download in enumerate(as_completed(downloads), start=1):
                        download.result()
                        progress(done, len(locked))
                        if given_up is not None and given_up.is_set():
                            break
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
    except requests.RequestException as error:
        raise StackError(
            "Kafka's jars cannot be downloaded from Maven Central: no network, or a proxy is in the way. "
            "Connect once (or set HTTPS_PROXY) and try again; later starts need no network. "
            f"({type(error).__name__})"
        ) from error
    except OSError as error:
        raise StackError(
            f"{maven.repo_cache} cannot be written; set M2_REPO to a folder that can. ({error})"
        ) from error
    return paths


def _cached(maven: MavenContext, jar: LockedDependency) -> Path:
    component = maven.project(jar.groupId, jar.artifactId).at_version(jar.version)
    path = component.artifact(jar.classifier or "", jar.packaging).cached_path
    assert path is not None
    return Path(path)


def _fetch(maven: MavenContext, jar: LockedDependency) -> None:
    """Bring one jar into the cache; a broken one (a download that was cut off) is fetched again."""
    path = _cached(maven, jar)
    for _ in range(2):
        component = maven.project(jar.groupId, jar.artifactId).at_version(jar.version)
        component.artifact(jar.classifier or "", jar.packaging).resolve()
        if hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256:
            return
        path.unlink()
    raise StackError(f"{path.name} is not the file that {LOCK.name} names: its checksum differs.")


def main() -> None:
    """Resolve the spec and write the lock: versions and checksums, no addresses."""
    logging.basicConfig(level=logging.INFO)
    maven = MavenContext()
    spec = EnvironmentSpec.load(SPEC)
    wanted = [maven.create_dependency(coordinate) for coordinate in spec.coordinates]
    inputs, others = maven.resolver.resolve(wanted)
    runtime = [jar for jar in others if jar.scope in {"compile", "runtime"}]
    LockFile.from_resolved_dependencies([*inputs, *runtime], environment_name=spec.name).save(LOCK)
    print(f"{LOCK.name}: {len(inputs) + len(runtime)} jars")


if __name__ == "__main__":
    main()
