"""What a relay or gateway does not take: what is tried again and when, what fails for good, what is sent on demand."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from notifications import __main__ as program
from notifications import messages
from notifications.channels import MailRelay, Outgoing, RefusedError, SmsGateway
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


@pytest.mark.parametrize("overrides", [{"smtp_from": "Abacus <shop@blocked.example>"}])
async def test_a_sender_that_the_relay_refuses_is_tried_again(desk):
    """It is a setting, which somebody may mend, and nothing that the message can help."""
    await desk.tell(contact(), change(order=4), change(order=8))
    await desk.send()
    assert [("queued", "SMTP 550 5.7.1 this sender may not send here")] * 2 == [
        (row["status"], row["error"]) for row in await desk.rows()
    ]


async def test_a_refusal_in_letters_that_are_no_utf_8_is_noted(desk):
    """PostgreSQL does not take the words of such a relay as they are; the message fails with what is left of them."""

    async def relay(reader, writer):
        writer.write(b"220 relay\r\n")
        while line := await reader.readline():
            writer.write(b"550 5.1.1 n\xe3o existe\r\n" if line.startswith(b"RCPT") else b"250 ok\r\n")
        writer.close()

    await desk.tell(contact(), change())
    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mail, _ = program.senders(desk.db, desk.given.model_copy(update={"smtp": f"127.0.0.1:{port}"}))
        while await mail.run_once(desk.stop):
            pass
    row = await desk.row()
    assert ("failed", "SMTP 550 5.1.1 n?o existe") == (row["status"], row["error"])


@pytest.mark.parametrize("overrides", [{"max_attempts": 3}])
async def test_what_cannot_be_put_into_a_message_holds_up_nobody(desk):
    """A date that no calendar has, an event that is none, an address that trips a library: those behind go out."""
    late = change(order=4)
    late.pay_by.FromJsonString("9999-12-31T23:59:59Z")
    await desk.tell(contact(), contact(8))
    # Such an address is refused when it comes; what trips the library tomorrow nobody knows.
    await desk.db.pool.execute("UPDATE contacts SET email = '=?utf-8?q??=@a*a|`Q#é' WHERE user_id = 8")
    await desk.tell(late, change(order=8), change(order=12, user=8), change(order=16))
    await desk.db.pool.execute("""UPDATE messages SET event = '{"orderId": "none"}' WHERE order_id = 8""")
    await desk.send()
    assert ["queued", "queued", "queued", "sent"] == [row["status"] for row in await desk.rows()]
    for _ in range(4):
        await desk.make_due()
        await desk.send()
    *bad, good = await desk.rows()
    assert ("sent", 1) == (good["status"], good["attempts"])
    assert [("failed", 3)] * 3 == [(row["status"], row["attempts"]) for row in bad]
    for told, row in zip(("OverflowError", "UnreadableError", "cannot be sent: IndexError"), bad, strict=True):
        assert told in row["error"]


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


async def test_old_failures_are_not_sent_again(desk):
    """A day later the news is none, and "please pay" may be wrong; the rest is queued in bounded batches."""
    await desk.tell(contact(email="a@bounce.example"), *(change(order=order) for order in (1, 2, 3)))
    await desk.send()
    await desk.db.pool.execute("UPDATE messages SET created_at = created_at - interval '25 hours' WHERE order_id = 1")
    assert [1, 1, 0] == [await messages.queue_failed(desk.db, batch=1) for _ in range(3)]
    assert ["failed", "queued", "queued"] == [row["status"] for row in await desk.rows()]


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
    """400 is for good, 429 and 5xx are not."""
    await desk.tell(contact(phone=phone), change("PAID"))
    seen = []
    for _ in outcomes:
        await desk.send()
        (_, row) = await desk.rows()
        seen.append((row["status"], row["error"]))
        await desk.make_due()
    assert outcomes == seen
    assert (1 if outcomes[-1][0] == "sent" else 0) == desk.box.count(to=phone)


@pytest.mark.parametrize(
    ("status", "for_good"),
    [(code, True) for code in (400, 413, 422)]
    + [(code, False) for code in (302, 401, 403, 404, 405, 408, 410, 429, 500, 503)],
)
async def test_which_answers_of_a_gateway_are_for_good(status, for_good):
    """Those about the message; a wrong token or path is ours, and can be mended while the message waits."""

    async def answer(_):
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/sms", answer)
    async with TestServer(app) as server, SmsGateway(str(server.make_url("/sms")), timeout_s=2).open() as session:
        with pytest.raises(RefusedError, match=f"HTTP {status}") as caught:
            await session.send(Outgoing("k", "+79000000001", "", "text", AT))
    assert for_good == caught.value.for_good


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
