"""notifications on its own database, with a real mailbox to send to."""

import asyncio
import itertools
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from abacus.identity.v1 import events_pb2 as identity_pb2
from abacus.loms.v1 import events_pb2
from deploy.native import stack
from kit import json
from kit.db import Database
from kit.inbox import Letter
from notifications import __main__ as program
from notifications import contacts, messages
from notifications.mailbox import __main__ as mailbox
from notifications.settings import Settings

PAY_BY = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


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

    async def tell(self, *letters):
        """Give messages (or Letters) to the consumer as one batch, as Kafka would."""
        await self.consumer.apply([it if isinstance(it, Letter) else self.letter(it) for it in letters])

    def letter(self, message, *, event_id=None, at=AT, payload=None, **headers):
        if message is None:
            kind, topic = events_pb2.OrderStatusChanged, messages.TOPIC
        else:
            kind = type(message)
            topic = messages.TOPIC if kind is events_pb2.OrderStatusChanged else contacts.TOPIC
        return Letter(
            topic=topic,
            partition=0,
            offset=next(self._offsets),
            at=at,
            key=b"1",
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
async def desk(db: Database, native, box_and_addresses, overrides) -> Desk:
    box, addresses = box_and_addresses
    given = Settings(
        **{
            "listen": "127.0.0.1:0",
            "database_url": db.url,
            "kafka": native.kafka,
            "smtp": addresses["smtp"],
            "sms_url": f"http://{addresses['sms']}/sms",
            **overrides,
        }
    )
    return Desk(db, box, given)
