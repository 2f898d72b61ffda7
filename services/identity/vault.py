"""Keys for hashes, and the seal of what only notifications may read. Pure."""

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from abacus.identity.v1 import events_pb2
from kit import json as event_json
from kit.settings import secret


def hash_key(vault_key_file: Path, purpose: str) -> bytes:
    """A key of 32 bytes for one purpose, made of the vault's: so no key is used for two things.

    Raises:
        ValueError: the file holds no Fernet key.
    """
    vault_key = base64.urlsafe_b64decode(secret(vault_key_file) or "")
    if len(vault_key) != 32:
        raise ValueError(f"{vault_key_file.name} holds no Fernet key: 32 bytes in base64")
    return HKDF(hashes.SHA256(), 32, None, f"abacus identity {purpose}".encode()).derive(vault_key)


class Seal:
    """Encrypts for notifications: JWE (RFC 7516), ECDH-ES with A256GCM, a fresh key for each message.

    Args:
        key_file: holds notifications' public key, a JWK on P-256.

    Raises:
        ValueError: it does not, or holds the private one too, which is not for us.
    """

    def __init__(self, key_file: Path):
        try:
            self._key = ECKey.import_key(json.loads(key_file.read_text()))
        except (JoseError, ValueError, TypeError, KeyError):
            raise ValueError(f"{key_file.name} holds no public key: a JWK on P-256") from None
        if self._key.is_private:
            raise ValueError(f"{key_file.name} holds a private key: only notifications may have it")

    def close(self, content: events_pb2.Secret) -> str:
        """The content as a compact JWE."""
        header = {"alg": "ECDH-ES", "enc": "A256GCM"}
        return jwe.encrypt_compact(header, event_json.dumps(content), self._key)
