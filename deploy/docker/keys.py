"""`python -m deploy.docker.keys` makes the secrets that docker-compose.yml mounts; what is there stays.

They are those of the native stack, made by its own code, in a home of their own: .abacus-docker/secrets.
"""

from pathlib import Path

from deploy.native import keys, postgres
from deploy.native.parts import REPO, SERVICES

HOME = REPO / ".abacus-docker"


def make(home: Path = HOME) -> Path:
    """Make what is missing; return the folder."""
    folder = keys.folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    # Compose mounts a file as it lies here, with its owner and mode. The containers' accounts are nobody's on this
    # machine, so each file may be read by all, and the folder lets nobody through to them but its owner.
    folder.chmod(0o700)
    keys.make(home)
    for account in ("postgres", *SERVICES):
        postgres.password_file(home, account)
    for path in folder.iterdir():
        path.chmod(0o444)
    return folder


if __name__ == "__main__":
    print(f"secrets are in {make().relative_to(REPO)}")
