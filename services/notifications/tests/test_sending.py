"""From rows to the relay and the gateway: what is refused, what is tried again, what a dead worker leaves."""

import asyncio

import grpc
import pytest

from abacus.notifications.v1 import notifications_pb2 as pb
from abacus.notifications.v1 import notifications_pb2_grpc
from kit import settings
from kit.testing import refused
from notifications import __main__ as program
from notifications import messages, rpc
from notifications.channels import MailRelay, Outgoing, RefusedError
from notifications.messages import Channel
from notifications.settings import Settings
from notifications.tests.conftest import AT, change, contact


async def test_a_bounce_fails_at_once(desk):
    """SMTP 5xx to the recipient or to the content is for good; the message stays, with the words of the relay."""
    await desk.tell(contact(1, email="a@bounce.example"), contact(2, email="a@spam.example"))
    await desk.tell(change(order=1, user=1), change(order=2, user=2))
    await desk.send()
    assert [
        ("failed", 1, "SMTP 550 5.1.1 no such mailbox"),
        ("failed", 1, "SMTP 554 5.7.1 refused for its content"),
    ] == [(row["status"], row["attempts"], row["error"]) for row in await desk.rows()]
    assert [] == desk.box.newest()


async def test_a_refusal_for_now_is_tried_again_after_growing_pauses(desk):
    """SMTP 451 twice, then it is taken: 1 s, 2 s, sent."""
    await desk.tell(contact(email="a@busy.example"), change())
    pauses = []
    for _ in range(2):
        await desk.send()
        pauses.append(
            await desk.db.pool.fetchval(
                "SELECT round(extract(epoch FROM next_attempt_at - clock_timestamp())) FROM messages"
                " WHERE status = 'queued' AND error = 'SMTP 451 4.7.1 try again later'"
            )
        )
        await desk.make_due()
    await desk.send()
    assert [1, 2] == pauses
    row = await desk.row()
    assert ("sent", 3, "") == (row["status"], row["attempts"], row["error"])
    assert 1 == desk.box.count(to="a@busy.example")


@pytest.mark.parametrize("overrides", [{"max_attempts": 3}])
async def test_it_gives_up_visibly_after_the_last_attempt(desk):
    """A relay that never takes it: failed after max_attempts, never deleted."""
    await desk.tell(contact(email="a@down.example"), change())
    for _ in range(5):
        await desk.send()
        await desk.make_due()
    row = await desk.row()
    assert ("failed", 3, "SMTP 451 4.3.0 the mailbox is down, try again later") == (
        row["status"],
        row["attempts"],
        row["error"],
    )
    assert 1 == (await program.status(desk.db))["messages_failed"]


async def test_what_failed_is_sent_again_on_demand(desk):
    """A customer corrects the address, an operator says `replay`: the message goes there."""
    await desk.tell(contact(email="a@bounce.example"), change())
    await desk.send()
    await desk.tell(contact(email="a@example.com"))
    assert 1 == await messages.queue_failed(desk.db)
    await desk.send()
    row = await desk.row()
    assert ("sent", "a@example.com") == (row["status"], row["address"])
    assert 0 == await messages.queue_failed(desk.db)


async def test_a_cut_connection_is_opened_again_for_the_next_message(desk):
    """The message that was on it is tried again, the others of the lane go out."""
    await desk.tell(contact(1, email="a@drop.example"), contact(2))
    await desk.tell(change(order=4, user=1), change(order=8, user=2))
    await desk.send()
    assert ["queued", "sent"] == [row["status"] for row in await desk.rows()]
    for _ in range(2):
        await desk.make_due()
        await desk.send()
    assert ["sent", "sent"] == [row["status"] for row in await desk.rows()]


@pytest.mark.parametrize("overrides", [{"smtp": "127.0.0.1:1", "sms_url": "http://127.0.0.1:1/sms"}])
async def test_a_relay_or_gateway_that_is_away_is_tried_again(desk):
    """A refused connection is nobody's fault but the moment's."""
    await desk.tell(contact(), change("PAID"))
    await desk.send()
    assert ["queued", "queued"] == [row["status"] for row in await desk.rows()]
    assert ["mail relay", "SMS gateway"] == [row["error"].split(":")[0] for row in await desk.rows()]


@pytest.mark.parametrize("overrides", [{"send_timeout_s": 0.1}])
async def test_a_slow_answer_is_a_refusal_for_now(desk):
    """Nobody waits for ever; the key lets the other side drop the repeat."""
    await desk.tell(contact(email="slow@example.com", phone="+79000009004"), change("PAID"))
    await desk.send()
    assert [("queued", 1), ("queued", 1)] == [(row["status"], row["attempts"]) for row in await desk.rows()]
    assert ["mail relay: TimeoutError", "SMS gateway: TimeoutError"] == [row["error"] for row in await desk.rows()]


@pytest.mark.parametrize(
    ("phone", "outcomes"),
    [
        ("+79000009001", [("failed", 'HTTP 400 {"error": "not a number that can get SMS"}')]),
        ("+79000009002", [("queued", 'HTTP 503 {"error": "try again later"}')] * 2 + [("sent", "")]),
        ("+79000009003", [("queued", 'HTTP 429 {"error": "try again later"}')] * 2 + [("sent", "")]),
    ],
)
async def test_what_the_sms_gateway_answers(desk, phone, outcomes):
    """4xx is for good, 429 and 5xx are not."""
    await desk.tell(contact(phone=phone), change("PAID"))
    seen = []
    for _ in outcomes:
        await desk.send()
        (_, row) = await desk.rows()
        seen.append((row["status"], row["error"]))
        await desk.make_due()
    assert outcomes == seen
    assert (1 if outcomes[-1][0] == "sent" else 0) == desk.box.count(to=phone)


@pytest.mark.parametrize("overrides", [{"contact_wait_s": 0.3}])
async def test_without_a_contact_or_an_address_it_becomes_undeliverable(desk):
    """After the wait, visibly, with the reason; a contact after that changes nothing."""
    await desk.tell(change("PAID", order=1, user=1), change("PAID", order=2, user=2))
    await desk.tell(contact(2, phone=""))
    await asyncio.sleep(0.35)  # it is this wait that ends
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


async def test_a_subject_cannot_carry_a_header(box_and_addresses):
    """A line break in what becomes a header is refused before anything is sent."""
    box, addresses = box_and_addresses
    relay = MailRelay(addresses["smtp"], sender="Abacus <shop@abacus.example>", timeout_s=2)
    async with relay.open() as session:
        with pytest.raises(RefusedError) as caught:
            await session.send(Outgoing("k", "a@example.com", "Hi\r\nBcc: all@example.com", "text", AT))
        assert caught.value.for_good
        await session.send(Outgoing("k", "a@example.com", "Привет", "text", AT))
    (message,) = box.newest()
    assert ("Привет", "<k@abacus.example>") == (message.subject, message.key)


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
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(monkeypatch, capsys, name, value):
    """By the name of its variable."""
    right = {"LISTEN": "127.0.0.1:0", "DATABASE_URL": "postgresql://h/d", "KAFKA": "h:1", "SMTP": "h:1"}
    for known, given in {**right, "SMS_URL": "http://h/sms", name: value}.items():
        monkeypatch.setenv(f"NOTIFICATIONS_{known}", given)
    with pytest.raises(SystemExit):
        settings.read(Settings)
    assert capsys.readouterr().err.startswith(f"setting NOTIFICATIONS_{name}: ")
