"""What people are told of their accounts: texts to the letter, through Kafka; the welcome of seed 000, once."""

import asyncio
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from abacus.notifications.v1 import notifications_pb2 as pb
from abacus.notifications.v1 import notifications_pb2_grpc
from kit import json
from kit.testing import until
from notifications import __main__ as program
from notifications import rpc
from notifications.tests.conftest import TOPICS, contact, registration, secret

GOLDEN = Path(__file__).parent / "golden"
PROMO = "7b0c3f8e-3f4e-4a53-9d63-0f5d7a1c2b11"
OTHER_PROMO = "c0a8ee2f-6f0e-4d87-8a27-9a7a5a0f3f10"


def _told(language, name, email, phone):
    """Each kind by each of its ways."""
    person = {"language": language, "first_name": name}
    mail, sms = {"channel": "email", "address": email}, {"channel": "sms", "address": phone}
    link = "https://shop.example/reset#x7-GkQ"
    return [
        registration(PROMO if language == "ru" else PROMO.replace("7", "8"), user_phone=phone),
        registration(
            OTHER_PROMO if language == "ru" else OTHER_PROMO.replace("c", "d"),
            type="email",
            user_phone="",
            user_email=email,
        ),
        secret("verify_email", **mail, **person, link=link),  # codes are typed in: theirs is not shown
        secret("verify_email", **mail, **person, good_for_s=65),
        secret("verify_phone", **sms, **person, link=link),
        secret("reset_password", **mail, **person, code="x7-GkQ", good_for_s=1800),
        secret("reset_password", **mail, **person, code="x7-GkQ", link=link),
        secret("reset_password", **sms, **person, code="x7-GkQ"),
        secret("reset_password", **sms, **person, code="x7-GkQ", link=link),
    ]


async def test_each_message_in_each_language(desk):
    """Events go into Kafka; the mailbox gets exactly these texts."""
    people = {
        "ru": (800_001, "Анна", "anna@accounts.example", "+79000800001"),
        "en": (800_002, "Boris", "boris@accounts.example", "+79000800002"),
    }
    stop = asyncio.Event()
    consumer = program.consumer(desk.db, desk.given.kafka, group=f"accounts-{uuid.uuid4()}")
    producer = AIOKafkaProducer(bootstrap_servers=desk.given.kafka)
    await producer.start()
    try:
        for language, (user, *who) in people.items():
            name, email, phone = who
            person = contact(user, first_name=name, language=language, email=email, phone=phone)
            for message in [person, *_told(language, *who)]:
                headers = [("id", str(uuid.uuid4()).encode()), ("type", message.DESCRIPTOR.full_name.encode())]
                value, key = json.dumps(message).encode(), str(user).encode()
                await producer.send_and_wait(TOPICS[type(message)], value, key=key, headers=headers)

        async def delivered():
            return sum(desk.box.count(to=address) for _, _, *addresses in people.values() for address in addresses)

        async with asyncio.TaskGroup() as tasks:
            for worker in (consumer, *desk.senders):
                tasks.create_task(worker.run(stop))
            await until(delivered, 18)
            stop.set()
    finally:
        await producer.stop()
    for language, (_, _, *addresses) in people.items():
        told = [message for message in desk.box.newest() if message.to in addresses]
        text = "\n".join(
            sorted(f"--- {message.channel}: {message.subject}\n{message.text.rstrip()}\n" for message in told)
        )
        assert (GOLDEN / f"accounts_{language}.txt").read_text() == text


SEED = b'{"type": "%s", "userPhone": "%s", "userEmail": "%s", "promoId": "' + PROMO.encode() + b'"}'


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ((b"sms", b"+79000000001", b""), ("sms", "+79000000001")),
        ((b"email", b"", b"a@example.com"), ("email", "a@example.com")),
        ((b"sms", b"+79000000001", b"a@example.com"), ("sms", "+79000000001")),
        ((b"email", b"+79000000001", b"a@example.com"), ("email", "a@example.com")),
        ((b"sms", b"", b"a@example.com"), ("email", "a@example.com")),
        ((b"email", b"+79000000001", b""), ("sms", "+79000000001")),
    ],
)
async def test_the_welcome_goes_where_its_json_says(desk, given, outcome):
    """The JSON of seed 000 as a foreign producer may write it, without key and headers; its `type` decides."""
    letter = desk.letter(registration(), payload=SEED % given, key=b"")
    letter.headers.clear()
    await desk.tell(letter)
    await desk.send()
    (message,) = desk.box.newest()
    assert outcome == (message.channel, message.to)
    assert PROMO in message.text


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_phone": ""}, "userPhone and userEmail: both are empty"),
        ({"user_phone": "8 900 123"}, "userPhone: not an E.164 number"),
        ({"type": "email", "user_email": "a@example.com, b@example.com"}, "userEmail: not an address"),
        ({"promo": "802417"}, "promo_id: value must be a valid UUID"),
        ({"type": "push"}, "type: value must be in list [sms, email]"),
    ],
)
async def test_a_registration_that_nobody_can_be_told_of_is_a_dead_letter(desk, fields, reason):
    """Its reason names the field and quotes nothing; the one behind it goes on."""
    await desk.tell(registration(**fields), registration(OTHER_PROMO))
    (told,) = await desk.dead()
    assert reason.split(":")[0] == told.split(":")[0]
    assert not any(part in told for part in ("8 900", "example.com", "802417"))
    assert [OTHER_PROMO] == [row["about"] for row in await desk.rows()]


async def test_a_registration_is_told_once(desk):
    """Neither the same event nor another one with the same promo id, in whatever letters, makes a second message."""
    again = desk.letter(registration(), event_id="0190c8a0-0000-7000-8000-000000000001")
    await desk.tell(again, again)
    await desk.tell(again, registration(), registration(PROMO.upper(), user_phone="+79000000009"))
    await desk.make_due()
    await desk.send()
    assert ("sent", 1) == ((await desk.row())["status"], desk.box.count())


@pytest.mark.parametrize(
    ("key", "user"),
    [
        (b"17", 17),
        (b"9" * 18, 10**18 - 1),
        *((key, 0) for key in (b"", b"0", b"-1", b"017", b"17\n", b"anna", b"\xff", "١٧".encode(), b"9" * 19)),
    ],
)
async def test_whose_welcome_it_is(desk, open_door, key, user):
    """The user is the event's key where it is an id, else unknown; ListMessages shows the kind, and no order."""
    await desk.tell(desk.letter(registration(), key=key))
    await desk.make_due()
    await desk.send()
    service = pb.DESCRIPTOR.services_by_name["NotificationsService"]
    stub = notifications_pb2_grpc.NotificationsServiceStub(await open_door(service, rpc.Notifications(desk.db)))
    (told,) = (await stub.ListMessages(pb.ListMessagesRequest())).messages
    assert (user, "welcome", 0, 0, pb.MESSAGE_STATUS_SENT, "+79000000007") == (
        told.user,
        told.kind,
        told.order_id,
        told.order_status,
        told.status,
        told.address,
    )
    assert f"Добро пожаловать! Ваш подарок: {PROMO}. Abacus" == told.text


async def test_the_welcome_is_in_the_language_of_the_contact(desk):
    """Which may come a moment later, on its own topic; without one it is Russian."""
    await desk.tell(desk.letter(registration(PROMO), key=b"7"), desk.letter(registration(OTHER_PROMO), key=b"8"))
    await desk.send()
    assert 0 == desk.box.count()
    await desk.tell(contact(7, language="en"))
    await desk.make_due()
    await desk.send()
    assert [f"Добро пожаловать! Ваш подарок: {OTHER_PROMO}. Abacus", f"Welcome! Your gift: {PROMO}. Abacus"] == [
        message.text for message in desk.box.newest()
    ]


async def test_the_welcome_keeps_to_its_address(desk):
    """A contact with another one, or with none, does not change where it goes; neither does a try that failed."""
    await desk.tell(registration(user_phone="+79000009002"), contact(7, phone="+79000000055"))
    for _ in range(3):
        await desk.make_due()
        await desk.send()
    assert ("sent", 3) == ((await desk.row())["status"], (await desk.row())["attempts"])
    assert ["+79000009002"] == [message.to for message in desk.box.newest()]


async def test_a_row_of_the_version_before_is_sent(desk):
    """It names the status of its order and no kind, which is then the kind."""
    await desk.db.pool.execute(
        "INSERT INTO messages (event_id, user_id, order_id, order_version, order_status, channel, event)"
        " VALUES ('e', 7, 17, 1, 'failed', 'email', '{\"orderId\": 17}')"
    )
    await desk.tell(contact())
    await desk.send()
    assert "sent" == (await desk.row())["status"]
    assert "Заказ № 17 не состоялся" == (await desk.row())["subject"]
