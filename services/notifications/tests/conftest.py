"""notifications on its own database, with a real mailbox to send to."""

import asyncio
import itertools
import json as stdlib_json
import os
import sys
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwe
from joserfc.jwk import ECKey

from abacus.identity.v1 import events_pb2 as identity_pb2
from abacus.loms.v1 import events_pb2
from deploy.native import stack
from kit import json
from kit.db import Database
from kit.inbox import Letter
from notifications import __main__ as program
from notifications import accounts, contacts, orders
from notifications.mailbox import __main__ as mailbox
from notifications.settings import Settings

PAY_BY = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = ECKey.derive_key("tests", "P-256")  # always the same: this file may be imported twice
TOPICS = {
    events_pb2.OrderStatusChanged: orders.TOPIC,
    identity_pb2.Contact: contacts.TOPIC,
    identity_pb2.Registration: accounts.REGISTRATION_TOPIC,
    identity_pb2.SecretMessage: accounts.SECRET_TOPIC,
}


class Desk:
    """What a test says to notifications, in short."""

    def __init__(self, db: Database, box, given: Settings):
        self.db = db
        self.box = box
        self.given = given
        self.consumer = program.consumer(db, given.kafka)
        self.senders = program.senders(db, given)
        self.stop = asyncio.Event()
        self._offsets = itertools.count()

    async def started(self, *command, log=asyncio.subprocess.DEVNULL, **settings):
        """Start a process of notifications with these settings, others as here; `log` is a file."""
        given = self.given.model_dump(exclude_unset=True) | settings
        variables = {f"NOTIFICATIONS_{name.upper()}": str(value) for name, value in given.items()}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "notifications", *command,
            env={**os.environ, **variables}, stdout=log, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    async def tell(self, *letters):
        """Give messages (or Letters) to the consumer as one batch, as Kafka would."""
        await self.consumer.apply([it if isinstance(it, Letter) else self.letter(it) for it in letters])

    def letter(self, message, *, event_id=None, at=AT, payload=None, key=b"7", **headers):
        kind = events_pb2.OrderStatusChanged if message is None else type(message)
        return Letter(
            topic=TOPICS[kind],
            partition=0,
            offset=next(self._offsets),
            at=at,
            key=key,
            headers={"id": event_id or str(uuid.uuid4()), "type": kind.DESCRIPTOR.full_name, **headers},
            payload=payload if payload is not None else json.dumps(message).encode(),
        )

    async def send(self):
        """Send until nothing is due."""
        for sender in self.senders:
            while await sender.run_once(self.stop):
                pass

    async def make_due(self):
        """End every pause and lease."""
        await self.db.pool.execute(
            "UPDATE messages SET next_attempt_at = clock_timestamp() WHERE next_attempt_at IS NOT NULL"
        )

    async def rows(self):
        return await self.db.pool.fetch("SELECT * FROM messages ORDER BY message_id")

    async def row(self):
        (row,) = await self.rows()
        return row

    async def outcomes(self):
        return [(row["status"], row["error"]) for row in await self.rows()]

    async def dead(self):
        return [
            row["reason"]
            for row in await self.db.pool.fetch("SELECT reason FROM dead_letters WHERE replayed_at IS NULL ORDER BY id")
        ]


def contact(user=7, **fields):
    return identity_pb2.Contact(
        **{
            "user_id": user,
            "first_name": "Анна",
            "email": f"user{user}@example.com",
            "phone": "+79000000007",
            "language": "ru",
            **fields,
        }
    )


def change(status="AWAITING_PAYMENT", order=17, version=1, user=7, **fields):
    event = events_pb2.OrderStatusChanged(
        **{
            "order_id": order,
            "version": version,
            "user": user,
            "status": f"ORDER_STATUS_{status}",
            "total_price": 349800,
            "currency": "RUB",
            "items": [
                events_pb2.OrderLine(sku=1001, count=2, name="Кофеварка «Заря» К-5", price=149900),
                events_pb2.OrderLine(sku=1002, count=1, price=50000),
            ],
            **fields,
        }
    )
    if status == "AWAITING_PAYMENT":
        event.pay_by.FromDatetime(PAY_BY)
    return event


def registration(promo="7b0c3f8e-3f4e-4a53-9d63-0f5d7a1c2b11", **fields):
    return identity_pb2.Registration(**{"type": "sms", "user_phone": "+79000000007", "promo_id": promo, **fields})


def secret(kind="verify_email", *, user=7, good_for_s=600.0, key=KEY, **fields):
    """What identity publishes; good_for_s counts from now."""
    is_phone = kind == "verify_phone" or fields.get("channel") == "sms"
    inside = identity_pb2.Secret(
        **{
            "channel": "sms" if is_phone else "email",
            "address": "+79000000007" if is_phone else "user7@example.com",
            "code": "802417",
            "first_name": "Анна",
            "language": "ru",
            **fields,
        }
    )
    return sealed(json.dumps(inside), kind, user=user, good_for_s=good_for_s, key=key)


def sealed(text, kind="verify_email", *, user=7, good_for_s=600.0, key=KEY, **header):
    header = {"alg": "ECDH-ES", "enc": "A256GCM", **header}
    public = ECKey.import_key(key.as_dict(private=False))
    message = identity_pb2.SecretMessage(
        kind=kind, user_id=user, sealed=jwe.encrypt_compact(header, text, public, algorithms=list(header.values()))
    )
    message.expires_at.FromDatetime(datetime.now(UTC) + timedelta(seconds=good_for_s))
    return message


def later(seconds):
    return AT + timedelta(seconds=seconds)


@pytest.fixture
async def box_and_addresses():
    ports = stack.free_ports(["web", "smtp", "sms"])
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    async with mailbox.running(mailbox.Settings(**addresses, slow_s=0.3)) as box:
        yield box, addresses


@pytest.fixture
def overrides():
    """Settings of a test that differ; a test may override it."""
    return {}


@pytest.fixture
def key_file(tmp_path):
    """Our private key, as the stack gives it."""
    path = tmp_path / "notifications-seal.private.json"
    path.write_text(stdlib_json.dumps(KEY.as_dict(private=True)))
    return path


@pytest.fixture
def service_keys_file(tmp_path):
    """No service may call: the tests open doors with keys of their own."""
    path = tmp_path / "service-keys.json"
    path.write_text("{}")
    return path


@pytest.fixture
async def desk(db: Database, native, box_and_addresses, key_file, service_keys_file, overrides) -> Desk:
    box, addresses = box_and_addresses
    given = Settings(
        **{
            "listen": "127.0.0.1:0",
            "database_url": db.url,
            "kafka": native.kafka,
            "smtp": addresses["smtp"],
            "sms_url": f"http://{addresses['sms']}/sms",
            "seal_key_file": key_file,
            "jwks_url": "http://127.0.0.1:1/",
            "service_keys_file": service_keys_file,
            **overrides,
        }
    )
    return Desk(db, box, given)
