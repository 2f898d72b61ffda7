"""Opens what identity sealed for us: JWE compact (RFC 7516), ECDH-ES with A256GCM, on P-256."""

import json as stdlib_json
from pathlib import Path
from typing import Any

import protovalidate
from joserfc import jwe
from joserfc.jwk import ECKey

from abacus.identity.v1 import events_pb2
from kit import json
from notifications import contacts
from notifications.failures import Failure

_ALGORITHMS = ["ECDH-ES", "A256GCM"]  # and no compression: a small text could become a big one


def read_key(path: Path) -> ECKey:
    """Read our private key, one JWK.

    Raises:
        ValueError: it is none.
    """
    try:
        key = ECKey.import_key(stdlib_json.loads(path.read_bytes()))
    except Exception:
        # The cause is not told: it may quote the file.
        raise ValueError("not a JWK") from None
    if not key.is_private or key.curve_name != "P-256":
        raise ValueError("not a private JWK on P-256")
    return key


class SealError(Failure):
    """A sealed message that cannot be opened, or holds what cannot be sent; its words quote nothing."""

    def __init__(self, what: str):
        super().__init__(what, for_good=True)


class Seal:
    """Our private key."""

    def __init__(self, path: Path):
        self._key = read_key(path)
        self._validator = protovalidate.Validator()

    def open(self, sealed: str) -> Any:
        """Return the abacus.identity.v1.Secret.

        Raises:
            SealError: it was sealed for another key, or is spoilt, or holds no Secret.
        """
        try:
            plain = jwe.decrypt_compact(sealed, self._key, algorithms=_ALGORITHMS).plaintext
        except Exception:  # of several libraries: what a stranger wrote is theirs to choose
            raise SealError("the seal cannot be opened: another key, or spoilt") from None
        try:
            secret = json.loads(events_pb2.Secret, plain or b"")
            if self._validator.collect_violations(secret):
                raise json.UnreadableError
            is_mail = secret.channel == "email"
            contacts.check(email=secret.address if is_mail else "", phone="" if is_mail else secret.address)
        except ValueError:
            raise SealError("what is sealed is no message") from None
        return secret
