"""Keys of a stack: who signs for whom, and who may read what. Made once a home, in its folder of secrets.

<service>.key                        private, PEM: signs what the service says to its peers
local.key                            the developer's own, for work on this machine
service-keys.json                    public keys of all of these by name: sets, so that old and new may overlap
identity-vault.key                   encrypts identity's signing keys in its database
notifications-seal.{private,public}.json    JWKs: what only notifications may read
"""

import json
import secrets
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

from joserfc.jwk import ECKey

from deploy.native.parts import SERVICES
from kit.tokens import ServiceKey

LOCAL = "local"
LOCAL_TOKEN_S = 12 * 3600.0  # a working day
CURVE = "P-256"


def folder(home: Path) -> Path:
    """Return the folder of a home's secrets."""
    return home / "secrets"


def make(home: Path) -> None:
    """Make what is missing; what is there stays."""
    at = folder(home)
    public = {}
    for name in (*SERVICES, LOCAL):
        kept(at / f"{name}.key", lambda: ECKey.generate_key(CURVE).as_pem(private=True).decode())
        public[name] = {"keys": [service_key(home, name).public().as_dict()]}
    _write(at / "service-keys.json", json.dumps(public))
    kept(at / "identity-vault.key", lambda: urlsafe_b64encode(secrets.token_bytes(32)).decode())
    seal = kept(
        at / "notifications-seal.private.json",
        lambda: json.dumps(ECKey.generate_key(CURVE, auto_kid=True).as_dict(private=True)),
    )
    seal_key = ECKey.import_key(json.loads(seal))
    _write(at / "notifications-seal.public.json", json.dumps(seal_key.as_dict(private=False)))


def service_key(home: Path, name: str) -> ServiceKey:
    """Return the key that signs for a service, or for `local`."""
    return ServiceKey(name, (folder(home) / f"{name}.key").read_text())


def local_token(home: Path) -> str:
    """Return a token that every service of this stack lets in, for a working day."""
    return service_key(home, LOCAL).sign(list(SERVICES), LOCAL_TOKEN_S)


def kept(path: Path, made: Callable[[], str]) -> str:
    """Return what a secret's file holds; makes it when there is none."""
    if not path.exists():
        _write(path, made())
    return path.read_text()


def _write(path: Path, text: str) -> None:
    """Write a file that only we may read, as a whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:  # its mode is 0600
        draft.write(text)
    Path(draft.name).rename(path)
