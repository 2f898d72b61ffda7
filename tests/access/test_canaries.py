"""Passwords, codes, tokens, phones go through every flow, and are found afterwards in no log or event."""

import itertools
import json
import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from deploy.native import stack
from deploy.native.parts import SERVICES, TOPICS
from kit.testing import read_topic, until
from tests.audit import mailbox
from tests.stacks import database, running

# These carry addresses: that is what they are for.
OF_CONTACTS = {"abacus.identity.contact.v1", "abacus.identity.registration.v1"}
_phones = itertools.count(1)


@dataclass
class Person:
    """Somebody whose every secret is a canary."""

    shop: stack.Shop
    http: aiohttp.ClientSession
    canaries: set[str] = field(default_factory=set)

    def canary(self, text: str) -> str:
        """Remember what must be found nowhere."""
        self.canaries.add(text)
        return text

    def password(self) -> str:
        """A new password."""
        return self.canary(f"canary-{uuid.uuid4().hex}")

    def phone(self, ending: str = "") -> str:
        """A new phone; the mailbox answers some endings strangely."""
        return self.canary(f"+1555{next(_phones):05}{ending or '00'}"[:12])

    async def call(self, verb: str, path: str, wanted: int, token: str = "", **body: Any) -> dict[str, Any]:
        """Call a route through the gateway; remember the tokens that it gives."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(verb, f"/api/v1/{path}", json=body or None, headers=headers) as answer:
            text = await answer.text()
            assert wanted == answer.status, f"{path}: {text}"
        told: dict[str, Any] = json.loads(text)
        for name in ("accessToken", "refreshToken"):
            if name in told:
                self.canary(told[name])
        return told

    async def secret(self, address: str, pattern: re.Pattern[str]) -> str:
        """The code or token that reaches an address, one that was not read before."""

        async def unread() -> list[str]:
            texts = [one["text"] for one in await mailbox(self.shop.address("mailbox")) if one["to"] == address]
            return [hit for text in texts for hit in pattern.findall(text) if hit not in self.canaries]

        await until(unread, 1, of=len)
        return self.canary((await unread())[0])


CODE = re.compile(r"^\d{6}$", re.MULTILINE)
TOKEN = re.compile(r"[0-9a-f]{32}\.[\w-]{20,}")


@pytest.fixture(scope="module")
async def quiet() -> AsyncIterator[stack.Shop]:
    """A shop that logs all it can, and in which nothing else happens."""
    levels = {f"{name.upper()}_LOG_LEVEL": "debug" for name in (*SERVICES, "mailbox")}
    async with running(env=levels) as shop:
        yield shop


async def test_no_secret_is_found(quiet: stack.Shop) -> None:
    """Good ways and bad ones, through the gateway: registration, login, codes, resets, refreshes, and nonsense."""
    async with aiohttp.ClientSession(f"http://{quiet.address('gateway')}") as http:
        ann = Person(quiet, http)
        await _life_of_an_account(ann)
        await _nonsense(ann)
        await _unwilling_phones(ann)
        await _settled(quiet)
        found = [place async for place in _found(quiet, ann.canaries)]
    assert len(ann.canaries) > 20
    assert [] == found


async def _life_of_an_account(ann: Person) -> None:
    email, phone, password = f"{uuid.uuid4().hex}@mail.example", ann.phone(), ann.password()
    name = {"firstName": "Ann", "lastName": "Canary"}
    made = await ann.call("POST", "auth/register/email", 200, **name, email=email, phone=phone, password=password)
    await ann.call("POST", "auth/register/email", 409, **name, email=email, password=ann.password())
    await ann.call("POST", "auth/register/phone", 409, **name, phone=phone, password=ann.password())
    await ann.call("POST", "auth/register/phone", 200, **name, phone=ann.phone(), password=ann.password())
    await ann.call("POST", "auth/login/email", 200, email=email, password=password)
    await ann.call("POST", "auth/login/phone", 200, phone=phone, password=password)
    await ann.call("POST", "auth/login/phone", 401, phone=phone, password=ann.password())
    await ann.call("POST", "auth/login/phone", 401, phone=ann.phone(), password=ann.password())
    again = await ann.call("POST", "auth/refresh", 200, refreshToken=made["refreshToken"])
    await ann.call("POST", "auth/refresh", 401, refreshToken=made["refreshToken"])
    for kind, target in (("email", email), ("phone", phone)):
        await ann.call("POST", f"auth/verify/{kind}/send", 200, **{kind: target})
        code = await ann.secret(target, CODE)
        wrong = "000000" if code != "000000" else "000001"
        await ann.call("POST", f"auth/verify/{kind}/confirm", 400, **{kind: target}, code=wrong)
        await ann.call("POST", f"auth/verify/{kind}/confirm", 200, **{kind: target}, code=code)
        await ann.call("POST", "auth/password/reset/request", 200, **{kind: target})
        token = await ann.secret(target, TOKEN)
        wrong = {"resetToken": token[:-3] + "xyz", "newPassword": ann.password()}
        await ann.call("POST", "auth/password/reset/confirm", 400, **wrong)
        password = ann.password()
        await ann.call("POST", "auth/password/reset/confirm", 200, resetToken=token, newPassword=password)
    await ann.call("GET", "users/me", 401, token=again["accessToken"])
    again = await ann.call("POST", "auth/login/email", 200, email=email, password=password)
    access = again["accessToken"]
    for current, status in ((ann.password(), 400), (password, 200)):
        change = {"currentPassword": current, "newPassword": ann.password()}
        await ann.call("POST", "auth/password/change", status, access, **change)
    await ann.call("PATCH", "users/me", 200, token=access, firstName="Anna")
    await ann.call("POST", "auth/logout", 200, refreshToken=again["refreshToken"])


async def _nonsense(ann: Person) -> None:
    """What belongs somewhere else, is too long, or of another type: the refusal may not repeat it into a log."""
    secret = ann.password()
    for path, body in (
        ("auth/register/email", {"firstName": "Ann", "email": secret, "password": secret}),
        ("auth/register/email", {"firstName": "Ann", "email": "a@b.example", "password": secret * 10}),
        ("auth/register/phone", {"firstName": "Ann", "phone": secret[:32], "password": secret}),
        ("auth/login/email", {"email": {"secret": secret}, "password": secret}),
        ("auth/login/email", {"email": "a@b.example", "password": [secret]}),
        ("auth/login/email", {"email": "a@b.example", "pass": secret}),
        ("auth/verify/phone/confirm", {"phone": ann.phone(), "code": secret}),
        ("auth/password/reset/confirm", {"resetToken": secret, "newPassword": "short"}),
    ):
        await ann.call("POST", path, 400, **body)
    await ann.call("POST", "auth/refresh", 401, refreshToken=secret)
    await ann.call("POST", "auth/logout", 200, refreshToken=secret)
    await ann.call("GET", "users/me", 401, token=secret)
    await ann.call("GET", f"users/me?token={secret}", 401)
    await ann.call("POST", f"auth/login/email?password={secret}", 400, email="a@b.example")


async def _unwilling_phones(ann: Person) -> None:
    """The SMS gateway refuses these numbers, for good or for a while."""
    for ending in ("9001", "9002", "9003"):
        phone = ann.canary(f"+15551{next(_phones):02}{ending}")
        name = {"firstName": "Ann", "lastName": "Unwilling"}
        await ann.call("POST", "auth/register/phone", 200, **name, phone=phone, password=ann.password())
        await ann.call("POST", "auth/verify/phone/send", 200, phone=phone)


async def _settled(shop: stack.Shop) -> None:
    """Wait until each message was tried."""
    async with database(shop, "notifications") as conn:
        untried = "SELECT count(*) FROM messages WHERE status IN ('waiting', 'queued') AND attempts = 0"
        await until(lambda: conn.fetchval(untried), 0)


async def _found(shop: stack.Shop, canaries: set[str]) -> AsyncIterator[str]:
    """Where a canary is read: in a log, an event, an outbox or a dead letter."""
    # Digits are found in times and numbers too: a code stands alone, and not after a point.
    pattern = re.compile("|".join(rf"(?<![\d.]){re.escape(one)}(?!\d)" for one in canaries))

    def look(place: str, text: str) -> list[str]:
        hits = pattern.finditer(text)
        return [f"{place}: {hit[0]}: …{text[max(0, hit.start() - 100) : hit.end() + 50]}" for hit in hits]

    for log in sorted((shop.home / "logs").glob("*.log")):
        for place in look(log.name, log.read_text(errors="replace")):
            yield place
    for topic in set(TOPICS) - OF_CONTACTS:
        for record in await read_topic(shop.kafka, topic):
            for place in look(topic, f"{record.key!r} {record.value!r} {record.headers}"):
                yield place
    async with database(shop, "identity") as conn:
        for row in await conn.fetch("SELECT topic, key, payload FROM outbox"):
            for place in look("outbox", "" if row["topic"] in OF_CONTACTS else f"{row['key']} {row['payload']}"):
                yield place
    async with database(shop, "notifications") as conn:
        for row in await conn.fetch("SELECT convert_from(payload, 'UTF8') AS payload, reason FROM dead_letters"):
            for place in look("dead letter", f"{row['payload']} {row['reason']}"):
                yield place
