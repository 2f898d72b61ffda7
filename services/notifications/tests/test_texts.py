"""What customers read, to the letter, through Kafka, PostgreSQL, SMTP and HTTP; and what a template may not do."""

import asyncio
import uuid
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from abacus.loms.v1 import events_pb2, loms_pb2
from kit import json
from notifications import __main__ as program
from notifications import contacts, orders
from notifications.messages import Channel, Claimed, status_name
from notifications.orders import CHANNELS
from notifications.tests.conftest import AT, change, contact
from notifications.texts import TEMPLATES, RenderError, Texts

GOLDEN = Path(__file__).parent / "golden"


def _addresses(user):
    return f"user{user}@example.com", f"+7{user:010}"


def claimed(event, *, name="Анна", language="ru"):
    return Claimed(
        message_id=1,
        lane=17,
        event_id="e",
        kind=status_name(loms_pb2.OrderStatus, event.status),
        event=json.dumps(event),
        sealed=None,
        attempts=1,
        address="a@example.com",
        first_name=name,
        language=language,
        created_at=AT,
        expires_in_s=None,
    )


async def _delivered(box, addresses, count):
    async with asyncio.timeout(30):
        while sum(box.count(to=address) for address in addresses) < count:  # noqa: ASYNC110  # they come by wire
            await asyncio.sleep(0.05)


async def test_each_message_in_each_language(desk):
    """Events and contacts go into Kafka; the mailbox gets exactly these texts."""
    people = {"ru": 900_001, "en": 900_002}
    names = {"ru": "Анна", "en": "Boris"}
    stop = asyncio.Event()
    consumer = program.consumer(desk.db, desk.given.kafka, group=f"texts-{uuid.uuid4()}")
    producer = AIOKafkaProducer(bootstrap_servers=desk.given.kafka)
    await producer.start()

    async def publish(topic, key, message):
        headers = [("id", str(uuid.uuid4()).encode()), ("type", message.DESCRIPTOR.full_name.encode())]
        await producer.send_and_wait(topic, json.dumps(message).encode(), key=str(key).encode(), headers=headers)

    try:
        for language, user in people.items():
            email, phone = _addresses(user)
            person = contact(user, first_name=names[language], language=language, email=email, phone=phone)
            await publish(contacts.TOPIC, user, person)
            for version, status in enumerate(CHANNELS, start=1):
                name = status_name(loms_pb2.OrderStatus, status).upper()
                event = change(name, order=user, user=user, version=version, reason="not paid in time")
                await publish(orders.TOPIC, user, event)
            event = change("CANCELLED", order=user, user=user, version=version + 1, reason="not reserved in time")
            await publish(orders.TOPIC, user, event)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consumer.run(stop))
            for sender in desk.senders:
                tasks.create_task(sender.run(stop))
            addresses = {address for user in people.values() for address in _addresses(user)}
            await _delivered(desk.box, addresses, 2 * (sum(map(len, CHANNELS.values())) + 1))
            stop.set()
    finally:
        await producer.stop()
    for language, user in people.items():
        told = [message for message in desk.box.newest() if message.to in _addresses(user)]
        text = "\n".join(
            f"--- {message.channel}: {message.subject}\n{message.text.rstrip()}\n"
            for message in sorted(told, key=lambda message: (message.channel, message.number))
        )
        assert (GOLDEN / f"{language}.txt").read_text() == text


def test_without_prices_none_are_shown():
    """An order that came without prices has lines and no sums."""
    event = change("PAID", total_price=0, items=[events_pb2.OrderLine(sku=5, count=3)])
    _, text = Texts("Europe/Moscow").render(Channel.EMAIL, claimed(event))
    assert "  № 5 × 3\n" in text
    assert "Оплачено" not in text


def test_a_name_cannot_pretend_to_be_our_text():
    """Line breaks, control and direction marks of foreign text become spaces."""
    event = change(items=[events_pb2.OrderLine(sku=5, count=1, name="Чай\r\n\nВаш Abacus\u202e\x1b[2J {{ order }}")])
    _, text = Texts("Europe/Moscow").render(Channel.EMAIL, claimed(event, name="Анна\nБ"))
    assert "  Чай Ваш Abacus [2J {{ order }} × 1 — 0,00 ₽\n" in text
    assert text.startswith("Здравствуйте, Анна Б!\n")


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ lines.append(1) }}",
        "{{ money.__globals__ }}",
        "{{ nothing }}",
        "{% for i in range(10000000) %}{% endfor %}",
    ],
)
def test_a_template_reaches_nothing_but_its_values(tmp_path, text):
    """The sandbox refuses attributes, changes and endless loops; a name that is not given is an error, not a gap."""
    for source in TEMPLATES.rglob("*.txt"):
        target = tmp_path / source.relative_to(TEMPLATES)
        target.parent.mkdir(exist_ok=True)
        target.write_text(source.read_text())
    paid = tmp_path / "ru" / "paid.txt"
    blocks = "{% block subject %}s{% endblock %}{% block sms %}s{% endblock %}{% block text %}"
    paid.write_text(blocks + text + "{% endblock %}")
    with pytest.raises(RenderError):
        Texts("Europe/Moscow", tmp_path).render(Channel.EMAIL, claimed(change("PAID")))


def test_a_missing_block_is_refused_at_the_start(tmp_path):
    """A language without a text for an SMS is found before the first SMS."""
    for source in TEMPLATES.rglob("*.txt"):
        target = tmp_path / source.relative_to(TEMPLATES)
        target.parent.mkdir(exist_ok=True)
        target.write_text(source.read_text().replace("block sms", "block other"))
    with pytest.raises(RenderError, match=r"ru/paid.txt lacks sms"):
        Texts("Europe/Moscow", tmp_path)


async def test_a_template_that_fails_is_tried_again(desk, monkeypatch):
    """A failed template may be mended: the message waits for that, with the reason."""

    def broken(*_):
        raise RenderError("template ru/paid.txt: broken")

    await desk.tell(contact(), change())
    with monkeypatch.context() as patch:
        patch.setattr(Texts, "render", broken)
        await desk.send()
    row = await desk.row()
    assert ("queued", "template ru/paid.txt: broken") == (row["status"], row["error"])
    await desk.make_due()
    await desk.send()
    assert "sent" == (await desk.row())["status"]
