"""Who calls: persons with a token that identity signed, services with one that they signed themselves.

Both are JWTs (RFC 7519) by ES256, told apart by their `typ`; a person's follows RFC 9068. Whatever is wrong with
a token, the caller learns that it is not good, and not why; only that it has expired is said: it can be refreshed.
"""

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import structlog
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import ECKey, KeySet
from joserfc.jwt import ClaimsOption

from kit import worker
from kit.errors import PEER_UNAVAILABLE, TOKEN_EXPIRED, TOKEN_INVALID, Error

log = structlog.get_logger()

ALGORITHM = "ES256"
PERSON = "at+jwt"
SERVICE = "svc+jwt"
PERSON_AUDIENCE = "abacus"
PERSON_ISSUER = "abacus-identity"
USER_ID = re.compile(r"[1-9][0-9]{0,18}")

PERSON_TOKEN_S_MAX = 300  # whatever it says itself: a key that leaked and was withdrawn is good for no longer
SERVICE_TOKEN_S_MAX = 24 * 3600  # of the developer's own; services sign for a minute
SERVICE_TOKEN_S = 60.0
CHARACTERS_MAX = 4096
SKEW_S = 30  # by which the clocks of two machines may differ; an expiry is not stretched by it
REMEMBERED = 10_000  # tokens whose signature was checked: a client sends the same one for minutes …
REMEMBERED_S = 30.0  # … and so long after its key was withdrawn it may still be taken

KEYS_REFRESH_S = 30.0
KEYS_ASKED_AGAIN_S = 1.0  # a token with an unknown key makes us ask, but not more often
KEYS_TRIED_AGAIN_S = 0.1  # where there was no answer: identity may just be starting
KEYS_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token speaks for."""

    name: str  # "user:17", "checkout", "anonymous": the scope of request ids, the actor in histories
    user: int | None = None  # a person's id
    session: str = ""  # of the person
    roles: frozenset[str] = frozenset()  # of the person

    @property
    def is_service(self) -> bool:
        """Whether one of our services calls."""
        return self.user is None and self.name != ANONYMOUS.name


ANONYMOUS = Principal("anonymous")


class ServiceKey:
    """A service's own private key: signs what it says to its peers.

    Args:
        name: of the service.
        pem: a private key on P-256.
    """

    def __init__(self, name: str, pem: str):
        self.name = name
        self._key = ECKey.import_key(pem)
        self._kept: dict[str, tuple[str, float]] = {}

    def public(self) -> ECKey:
        """What others need to know that it was this service; its id is its thumbprint."""
        return ECKey.import_key({**self._key.as_dict(private=False), "kid": self._key.thumbprint()})

    def token(self, audience: str) -> str:
        """A token for one service, made anew when half of its life is over."""
        token, renew_at = self._kept.get(audience, ("", 0.0))
        if time.time() >= renew_at:
            token = self.sign([audience], SERVICE_TOKEN_S)
            self._kept[audience] = token, time.time() + SERVICE_TOKEN_S / 2
        return token

    def sign(self, audiences: list[str], life_s: float) -> str:
        """A fresh token for these services."""
        now = time.time()
        header = {"alg": ALGORITHM, "typ": SERVICE, "kid": self._key.thumbprint()}
        claims = {"iss": self.name, "sub": self.name, "aud": audiences, "iat": int(now), "exp": int(now + life_s)}
        return jwt.encode(header, claims, self._key)


class PersonKeys(Protocol):
    """Where identity's public keys come from."""

    async def get(self, kid: str) -> ECKey | None:
        """The key of this id; None where identity has none.

        Raises:
            Error: PEER_UNAVAILABLE, nobody could be asked.
        """


class RemoteKeys:
    """Identity's public keys, asked for by HTTP (RFC 7517) and kept while identity is away.

    Keys stand there long before they sign, and long after: see services/identity/keys.py.
    """

    def __init__(self, url: str):
        self.url = url
        self._keys: dict[str, ECKey] = {}
        self._asked_at = -KEYS_ASKED_AGAIN_S
        self._answered = False  # whether the last question was
        self._asking = asyncio.Lock()

    async def get(self, kid: str) -> ECKey | None:
        """The key of this id; asks identity where it is not known."""
        if kid not in self._keys:
            async with self._asking:
                pause_s = KEYS_ASKED_AGAIN_S if self._answered else KEYS_TRIED_AGAIN_S
                if kid not in self._keys and time.monotonic() >= self._asked_at + pause_s:
                    await self._ask()
            if kid not in self._keys and not self._answered:
                raise PEER_UNAVAILABLE("identity does not answer, try again", retry_after_s=1)
        return self._keys.get(kid)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the keys fresh until stop is set: one that identity withdraws is forgotten here."""
        while not stop.is_set():
            async with self._asking:
                await self._ask()
            await worker.pause(KEYS_REFRESH_S if self._answered else KEYS_ASKED_AGAIN_S, stop)

    async def _ask(self) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=KEYS_TIMEOUT_S)
            async with aiohttp.ClientSession(timeout=timeout) as http, http.get(self.url) as answer:
                answer.raise_for_status()
                self._keys = _by_id(await answer.json())
            self._answered = True
        except (aiohttp.ClientError, TimeoutError, JoseError, ValueError, KeyError, TypeError) as error:
            if self._answered:
                log.warning("identity's keys cannot be read, those known stay", error=repr(error))
            self._answered = False
        finally:
            self._asked_at = time.monotonic()  # when it ended: who waited for it does not wait for another


def _by_id(key_set: Mapping[str, Any]) -> dict[str, ECKey]:
    return {key["kid"]: ECKey.import_key(key) for key in key_set["keys"]}


class Verifier:
    """Finds out for whom a token speaks.

    Args:
        name: of the service that asks: tokens of other services must be meant for it.
        persons: identity's keys.
        services: names of services, and the public keys of each.
    """

    def __init__(self, name: str, persons: PersonKeys, services: Mapping[str, KeySet]):
        self._persons = persons
        self._services = {key.kid: (service, key) for service, keys in services.items() for key in keys.keys}
        self._person_claims = _claims(iss=PERSON_ISSUER, aud=PERSON_AUDIENCE)
        self._service_claims = {service: _claims(iss=service, sub=service, aud=name) for service in services}
        # Token -> for whom it speaks, and until when that may be said without another look; the oldest first.
        self._seen: dict[str, tuple[Principal, float]] = {}

    async def principal(self, token: str) -> Principal:
        """For whom a token speaks.

        Raises:
            Error: TOKEN_INVALID, TOKEN_EXPIRED; PEER_UNAVAILABLE where identity cannot be asked for its keys.
        """
        if (seen := self._seen.get(token)) and time.time() < seen[1]:
            return seen[0]
        try:
            principal, expires_at = await self._verified(token)
        except ExpiredTokenError:
            raise _expired() from None
        # What a token may hold is without end: bytes that are no text, a header that is a list, JSON of any depth.
        except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
            raise _invalid() from None
        now = time.time()
        if now >= expires_at:
            raise _expired()
        self._seen.pop(token, None)
        if len(self._seen) >= REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._seen[token] = principal, min(expires_at, now + REMEMBERED_S)
        return principal

    async def _verified(self, token: str) -> tuple[Principal, float]:
        if len(token) > CHARACTERS_MAX:
            raise _invalid()
        header = jws.extract_compact(token.encode()).headers()
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise _invalid()
        if header.get("typ") == PERSON:
            persons_key = await self._persons.get(kid)
            if persons_key is None:
                raise _invalid()
            claims = jwt.decode(token, persons_key, [ALGORITHM]).claims
            self._person_claims.validate(claims)
            _check_life(claims, PERSON_TOKEN_S_MAX)
            if not USER_ID.fullmatch(claims["sub"]):  # int() also takes "+17", "1_7" and digits of other scripts
                raise _invalid()
            user = int(claims["sub"])
            roles = frozenset(claims.get("roles", ()))
            return Principal(f"user:{user}", user, str(claims.get("sid", "")), roles), claims["exp"]
        if header.get("typ") == SERVICE and kid in self._services:
            service, key = self._services[kid]
            claims = jwt.decode(token, key, [ALGORITHM]).claims
            self._service_claims[service].validate(claims)
            _check_life(claims, SERVICE_TOKEN_S_MAX)
            return Principal(service), claims["exp"]
        raise _invalid()


def _check_life(claims: Mapping[str, Any], most_s: float) -> None:
    if not claims["exp"] - claims["iat"] <= most_s:
        raise _invalid()


def _claims(**wanted: str) -> jwt.JWTClaimsRegistry:
    must: dict[str, ClaimsOption] = {name: {"essential": True} for name in ("sub", "iat", "exp")}
    must |= {name: {"essential": True, "value": value} for name, value in wanted.items()}
    # The leeway is for `iat`: whether it has expired is asked at each use, also of a token seen before.
    return jwt.JWTClaimsRegistry(None, SKEW_S, **must)


def _expired() -> Error:
    return TOKEN_EXPIRED("the token has expired, get a new one")


def _invalid() -> Error:
    return TOKEN_INVALID("the token is not good for this")


def service_keys(path: Path) -> dict[str, KeySet]:
    """Read the public keys of services: JSON, the name of each and its JWK set.

    Raises:
        ValueError: it is something else.
    """
    try:
        return {name: KeySet(list(_by_id(keys).values())) for name, keys in json.loads(path.read_text()).items()}
    except (JoseError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"no service keys in {path.name}: {error!r}") from error
