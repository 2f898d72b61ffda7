"""From rows to the relay and the gateway: which address is used, what a dead worker leaves, what is overdue."""

import asyncio

import grpc
import pytest

from abacus.notifications.v1 import notifications_pb2 as pb
from abacus.notifications.v1 import notifications_pb2_grpc
from kit import settings
from kit.testing import refused
from notifications import __main__ as program
from notifications import messages, rpc
from notifications.messages import Channel
from notifications.settings import Settings
from notifications.tests.conftest import change, contact


async def test_without_a_contact_or_an_address_it_becomes_undeliverable(desk):
    """After the wait, visibly, with the reason; a contact after that changes nothing."""
    await desk.tell(change("PAID", order=1, user=1), change("PAID", order=2, user=2))
    await desk.tell(contact(2, phone=""))
    await desk.db.pool.execute("UPDATE messages SET created_at = created_at - interval '2 hours'")
    await desk.send()
    assert [
        (1, "email", "undeliverable", "no contact of the user is known"),
        (1, "sms", "undeliverable", "no contact of the user is known"),
        (2, "email", "sent", ""),
        (2, "sms", "undeliverable", "the contact has no phone"),
    ] == sorted((row["order_id"], row["channel"], row["status"], row["error"]) for row in await desk.rows())
    assert 3 == (await program.status(desk.db))["messages_undeliverable"]


async def test_an_address_that_comes_before_the_wait_is_over_is_used(desk):
    """A contact without a phone is no reason to give up at once: the next one may have it."""
    await desk.tell(contact(phone=""), change("PAID"))
    await desk.send()
    assert ["sent", "waiting"] == [row["status"] for row in await desk.rows()]
    await desk.tell(desk.letter(contact(phone="+79000000099")))
    await desk.send()
    assert ["sent", "sent"] == [row["status"] for row in await desk.rows()]


async def test_a_withdrawn_address_is_not_used(desk):
    """What is still to be tried waits for another address, with no attempt lost, and goes there."""
    await desk.tell(contact(email="a@busy.example"), change())
    await desk.send()
    await desk.tell(contact(email=""))
    await desk.make_due()
    for _ in range(2):  # taken back, then settled
        await desk.send()
    row = await desk.row()
    assert ("waiting", "", 1, "the contact has no e-mail address") == (
        row["status"],
        row["address"],
        row["attempts"],
        row["error"],
    )
    await desk.tell(contact(email="new@example.com"))
    await desk.send()
    assert ("sent", 2) == ((await desk.row())["status"], (await desk.row())["attempts"])
    assert ["new@example.com"] == [message.to for message in desk.box.newest()]


async def test_overdue_is_what_no_worker_takes(desk):
    """A message on its way or in a pause is none; one that was due a minute ago and nobody claimed is."""

    async def overdue():
        return (await program.status(desk.db))["overdue_messages"]

    await desk.tell(contact(), change(order=1), change(order=2, user=8))
    assert 0 == await overdue()
    await desk.db.pool.execute("UPDATE messages SET next_attempt_at = next_attempt_at - interval '61 seconds'")
    assert 2 == await overdue()  # neither settled nor claimed
    await desk.send()
    assert ["sent", "waiting"] == [row["status"] for row in await desk.rows()]
    assert 0 == await overdue()


async def test_overdue_is_what_the_relay_does_not_take_at_all(desk):
    """Tried for minutes, and nothing later went out by the channel: then it is not one recipient's fault."""

    async def overdue():
        return (await program.status(desk.db))["overdue_messages"]

    await desk.tell(contact(email="a@down.example"), contact(8), change("PAID", order=1, user=8))
    await desk.send()
    await desk.tell(change("PAID", order=2))
    await desk.send()
    assert ["sent", "sent", "queued", "sent"] == [row["status"] for row in await desk.rows()]
    assert 0 == await overdue()
    await desk.db.pool.execute("UPDATE messages SET attempts = 9 WHERE status = 'queued'")
    assert 1 == await overdue()
    await desk.tell(change(order=3, user=8))
    await desk.send()
    assert 0 == await overdue()


async def test_a_contact_and_an_order_that_missed_each_other_meet(desk):
    """Where two transactions did not see each other, nothing wakes the message; its next look finds the contact."""
    await desk.tell(contact(8), change())
    await desk.send()
    await desk.db.pool.execute("UPDATE contacts SET user_id = 7")
    await desk.make_due()
    await desk.send()
    assert "sent" == (await desk.row())["status"]


async def test_an_address_that_is_not_ascii(desk):
    """A relay that knows SMTPUTF8 gets it."""
    await desk.tell(contact(email="анна@почта.example"), change())
    await desk.send()
    assert "sent" == (await desk.row())["status"]
    assert 1 == desk.box.count(to="анна@почта.example")


async def test_the_lease_of_a_dead_worker_ends_and_another_sends(desk):
    """While it lasts nobody else gets the message; then the next worker sends it, once."""
    await desk.tell(contact(), change())
    await messages.settle(desk.db, Channel.EMAIL, contact_wait_s=60)
    (claimed,) = await messages.claim(desk.db, Channel.EMAIL, lease_s=60, batch=10)
    await desk.send()
    assert (1, "queued") == (claimed.attempts, (await desk.row())["status"])
    await desk.make_due()
    await desk.send()
    row = await desk.row()
    assert ("sent", 2) == (row["status"], row["attempts"])
    # The first worker was only slow: what it says now of its failure is not heard.
    await messages.failed(desk.db, claimed, error="late", retry_after_s=1)
    assert "sent" == (await desk.row())["status"]


async def test_a_repeat_after_a_kill_carries_the_same_key(desk):
    """Killed between the relay's OK and its own mark, the next worker's message is known as a repeat."""
    await desk.tell(contact(), change("PAID"))
    await desk.send()
    await desk.db.pool.execute(
        "UPDATE messages SET status = 'queued', sent_at = NULL, next_attempt_at = clock_timestamp()"
    )
    await desk.send()
    assert [("email", 1), ("sms", 1)] == sorted((message.channel, message.repeats) for message in desk.box.newest())


async def test_many_workers_send_each_message_once(desk):
    """Four workers on one database: nothing twice, nothing left."""
    users = range(1, 11)
    await desk.tell(*(contact(user) for user in users))
    await desk.tell(*(change("PAID", order=order, user=order % 10 + 1) for order in range(1, 201)))

    async def work():
        for sender in program.senders(desk.db, desk.given):
            while await sender.run_once(desk.stop):
                pass

    await asyncio.gather(*(work() for _ in range(4)))
    assert {("sent", 1)} == {(row["status"], row["attempts"]) for row in await desk.rows()}
    assert (400, 0) == (desk.box.count(), sum(message.repeats for message in desk.box.newest()))


async def test_a_worker_that_is_told_to_stop_gives_back_what_it_did_not_try(desk):
    """The next worker need not wait for a lease to end, and no attempt is lost."""
    await desk.tell(contact(), *(change(order=order) for order in range(1, 9)))
    desk.stop.set()
    await desk.senders[0].run_once(desk.stop)
    assert {("queued", 0)} == {(row["status"], row["attempts"]) for row in await desk.rows()}
    desk.stop.clear()
    await desk.send()
    assert {("sent", 1)} == {(row["status"], row["attempts"]) for row in await desk.rows()}


async def test_list_messages(desk, open_door):
    """Newest first, by user, order and status, in pages; a token that is none names its field."""
    await desk.tell(contact(1), contact(2, email="a@bounce.example"))
    await desk.tell(*(change("PAID", order=order, user=order % 2 + 1) for order in range(1, 6)))
    await desk.send()
    service = pb.DESCRIPTOR.services_by_name["NotificationsService"]
    stub = notifications_pb2_grpc.NotificationsServiceStub(await open_door(service, rpc.Notifications(desk.db)))

    async def listed(**filters):
        found, token = [], ""
        while True:
            answer = await stub.ListMessages(pb.ListMessagesRequest(page_size=3, page_token=token, **filters))
            found += answer.messages
            token = answer.next_page_token
            if not token:
                return found

    everything = await listed()
    assert 10 == len(everything)
    assert sorted((message.message_id for message in everything), reverse=True) == [
        message.message_id for message in everything
    ]
    assert {2, 4} == {message.order_id for message in await listed(user=1)}
    assert [pb.CHANNEL_SMS, pb.CHANNEL_EMAIL] == [message.channel for message in await listed(order_id=5)]
    failed = await listed(status=pb.MESSAGE_STATUS_FAILED)
    assert [(5, 1), (3, 1), (1, 1)] == [(message.order_id, message.attempts) for message in failed]
    (one, _) = await listed(order_id=2)
    assert ("+79000000007", "Заказ № 2 оплачен: 3 498,00 ₽. Спасибо! Abacus", True) == (
        one.address,
        one.text,
        one.HasField("sent_at"),
    )
    assert [] == await listed(user=99)
    for field, bad in (
        ("page_token", {"page_token": "?"}),
        ("page_size", {"page_size": 201}),
        ("user", {"user": -1}),
        ("order_id", {"order_id": 0}),
        ("status", {"status": 9}),
    ):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, field=field):
            await stub.ListMessages(pb.ListMessagesRequest(**bad))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_FROM", "nobody"),
        ("SMTP_FROM", "Shop <shop@abacus.example\nBcc: all@example.com>"),
        ("SMTP_FROM", ""),
        ("TIMEZONE", "Europe/Atlantis"),
        ("TIMEZONE", "../../etc/passwd"),
        ("SMTP", "localhost"),
        ("SMS_URL", "localhost:8026"),
        ("MAX_ATTEMPTS", "0"),
        ("KAFKA", ""),
        ("SEAL_KEY_FILE", "/nowhere"),
        ("SEAL_KEY_FILE", __file__),
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(monkeypatch, capsys, key_file, service_keys_file, name, value):
    """By the name of its variable."""
    right = {
        "LISTEN": "127.0.0.1:0",
        "DATABASE_URL": "postgresql://h/d",
        "KAFKA": "h:1",
        "SMTP": "h:1",
        "SMS_URL": "http://h/sms",
        "SEAL_KEY_FILE": str(key_file),
        "JWKS_URL": "http://h/",
        "SERVICE_KEYS_FILE": str(service_keys_file),
    }
    for known, given in {**right, name: value}.items():
        monkeypatch.setenv(f"NOTIFICATIONS_{known}", given)
    with pytest.raises(SystemExit):
        settings.read(Settings)
    assert capsys.readouterr().err.startswith(f"setting NOTIFICATIONS_{name}: ")
