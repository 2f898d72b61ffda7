"""Codes: sealed until they are on their way, gone from the row after it, never in a log."""

import asyncio
import contextlib
import sys
import traceback
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.jwk import ECKey

from abacus.notifications.v1 import notifications_pb2 as pb
from abacus.notifications.v1 import notifications_pb2_grpc
from deploy.native import stack
from kit.testing import until
from notifications import __main__ as program
from notifications import messages, rpc
from notifications.channels import Outgoing, SmsGateway
from notifications.tests.conftest import AT, change, contact, registration, sealed, secret

CODE = "802417"
EMAIL = "user7@example.com"
PHONE = "+79000000007"


async def _columns(db):
    """All that the database holds, as text, but contacts and the addresses of messages."""
    found = []
    for table in ("messages", "inbox", "dead_letters"):
        rows = await db.pool.fetch(f"SELECT (to_jsonb({table}) - 'address')::text AS row FROM {table}")
        found += [row["row"] for row in rows]
    return "\n".join(found)


@pytest.mark.parametrize(
    ("kind", "fields", "subject"),
    [
        ("verify_email", {}, "Подтвердите адрес"),
        ("verify_phone", {}, ""),
        ("reset_password", {}, "Новый пароль"),
        ("reset_password", {"channel": "sms"}, ""),
    ],
)
async def test_a_code_is_sent_and_nothing_of_it_stays(desk, open_door, kind, fields, subject):
    """Sealed until then; afterwards ListMessages shows subject and address, and neither text nor code."""
    await desk.tell(secret(kind, **fields))
    before = await desk.row()
    assert ("queued", "", None) == (before["status"], before["address"], before["event"])
    await desk.send()
    (got,) = desk.box.newest()
    assert [CODE] == [line for line in got.text.splitlines() if CODE in line]
    service = pb.DESCRIPTOR.services_by_name["NotificationsService"]
    stub = notifications_pb2_grpc.NotificationsServiceStub(await open_door(service, rpc.Notifications(desk.db)))
    (told,) = (await stub.ListMessages(pb.ListMessagesRequest(user=7))).messages
    is_phone = subject == ""
    assert (kind, pb.MESSAGE_STATUS_SENT, subject, "", 1, PHONE if is_phone else EMAIL) == (
        told.kind,
        told.status,
        told.subject,
        told.text,
        told.attempts,
        told.address,
    )
    assert (pb.CHANNEL_SMS if is_phone else pb.CHANNEL_EMAIL) == told.channel
    assert (got.channel, got.to) == ("sms" if is_phone else "email", told.address)
    held = await _columns(desk.db)
    assert not any(canary in held for canary in (CODE, EMAIL, PHONE, before["sealed"]))


async def test_a_code_that_comes_again_is_sent_once(desk):
    """The same event; another event is another code, and codes of one user go out in order."""
    again = desk.letter(secret(), event_id="0190c8a0-0000-7000-8000-000000000001")
    await desk.tell(again, again)
    await desk.tell(again, *(secret(code=f"90000{number}") for number in range(8)))
    await desk.send()
    codes = [next(line for line in mail.text.splitlines() if line.isdecimal()) for mail in desk.box.newest()]
    assert [CODE, *(f"90000{number}" for number in range(8))] == codes[::-1]


async def test_a_code_stays_sealed_between_tries(desk):
    """Each try opens it anew; in between the row tells nobody what, or where to."""
    await desk.tell(secret(address="anna@busy.example"))
    for attempt in (1, 2):
        await desk.send()
        row = await desk.row()
        assert ("queued", attempt, "", "SMTP 451", True) == (
            row["status"],
            row["attempts"],
            row["address"],
            row["error"],
            row["sealed"] is not None,
        )
        await desk.make_due()
    await desk.send()
    row = await desk.row()
    assert ("sent", 3, "anna@busy.example") == (row["status"], row["attempts"], row["address"])


@pytest.mark.parametrize(
    ("overrides", "fields", "error"),
    [
        ({}, {"address": "anna@bounce.example"}, "SMTP 550"),
        ({}, {"channel": "sms", "address": "+79000009001"}, "HTTP 400"),
        ({"max_attempts": 1}, {"address": "anna@down.example"}, "SMTP 451"),
    ],
)
async def test_a_code_that_is_given_up_leaves_nothing_to_replay(desk, fields, error):
    """It failed with the relay's number and without its words; `replay` leaves it alone, beside an order's message."""
    await desk.tell(contact(8, email="b@bounce.example"), secret("reset_password", **fields), change(user=8))
    await desk.send()
    row, _ = await desk.rows()
    assert ("failed", error, fields["address"], None) == (row["status"], row["error"], row["address"], row["sealed"])
    assert CODE not in await _columns(desk.db)
    assert 1 == await messages.queue_failed(desk.db)
    assert ["failed", "queued"] == [row["status"] for row in await desk.rows()]


async def test_what_a_gateway_quotes_is_not_kept(desk):
    """One that answers with the whole request tells neither the table nor the log what was in it."""

    async def answer(request):
        return web.Response(status=400, text=await request.text())

    app = web.Application()
    app.router.add_post("/sms", answer)
    async with TestServer(app) as server:
        _, sms = program.senders(desk.db, desk.given.model_copy(update={"sms_url": str(server.make_url("/sms"))}))
        await desk.tell(secret("verify_phone"))
        with structlog.testing.capture_logs() as logs:
            await sms.run_once(desk.stop)
    assert [("failed", "HTTP 400")] == await desk.outcomes()
    assert [("message failed", "HTTP 400")] == [(line["event"], line["error"]) for line in logs]
    held = await _columns(desk.db)
    assert not any(canary in f"{logs}{held}" for canary in (CODE, PHONE))


async def test_a_relay_that_quotes_the_address_tells_the_table_and_not_the_log(desk):
    """For a message about an order its words help; whoever reads logs does not need the address."""

    async def relay(reader, writer):
        writer.write(b"220 relay\r\n")
        while line := await reader.readline():
            writer.write(b"550 5.1.1 unknown " + line[8:] if line.startswith(b"RCPT") else b"250 ok\r\n")
        writer.close()

    await desk.tell(contact(), change(), secret())
    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mail, _ = program.senders(desk.db, desk.given.model_copy(update={"smtp": f"127.0.0.1:{port}"}))
        with structlog.testing.capture_logs() as logs:
            while await mail.run_once(desk.stop):
                pass
    assert ["SMTP 550 5.1.1 unknown <user7@example.com>", "SMTP 550"] == [row["error"] for row in await desk.rows()]
    assert ["SMTP 550"] * 2 == [line["error"] for line in logs]
    assert EMAIL not in str(logs)


async def test_what_a_relay_quotes_is_not_the_context_of_our_own_failure(desk):
    """A database that fails while a refusal is to be noted: its error is logged, with all that led to it."""

    async def relay(reader, writer):
        writer.write(b"220 relay\r\n")
        while line := await reader.readline():
            if line.startswith(b"RCPT"):
                await desk.db.pool.close()
            writer.write(b"550 5.1.1 unknown " + line[8:] if line.startswith(b"RCPT") else b"250 ok\r\n")
        writer.close()

    await desk.tell(contact(), change())
    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        mail, _ = program.senders(desk.db, desk.given.model_copy(update={"smtp": f"127.0.0.1:{port}"}))
        with pytest.raises(asyncpg.InterfaceError) as caught:
            await mail.run_once(desk.stop)
    assert EMAIL not in "".join(traceback.format_exception(caught.value))


async def test_a_code_that_has_expired_is_not_sent(desk):
    """Neither one that came too late, nor one whose next try would be; it is undeliverable, and says why."""
    await desk.tell(secret(good_for_s=-1), secret(address="anna@down.example"), secret(user=8))
    await desk.send()
    await desk.db.pool.execute("UPDATE messages SET expires_at = clock_timestamp() WHERE address = ''")
    await desk.make_due()
    await desk.send()
    assert [("undeliverable", "expired"), ("undeliverable", "expired"), ("sent", "")] == await desk.outcomes()
    assert 1 == desk.box.count()
    assert [None] * 3 == [row["sealed"] for row in await desk.rows()]
    assert 0 == await messages.queue_failed(desk.db)
    assert 2 == (await program.status(desk.db))["messages_undeliverable"]


async def test_a_pause_does_not_outlast_a_code(desk):
    """The next try would be after it expired: it is looked at then, and not left in the table."""
    await desk.tell(secret(address="anna@down.example", good_for_s=600))
    await desk.db.pool.execute("UPDATE messages SET attempts = 11")
    await desk.send()
    row = await desk.row()
    assert (12, row["expires_at"]) == (row["attempts"], row["next_attempt_at"])


async def test_a_code_that_expires_while_its_batch_is_sent_is_not_sent(desk):
    """A slow recipient before it in its lane; nobody gets a code that is good no longer."""
    await desk.tell(secret(address="slow@example.com"), secret(good_for_s=0.2))
    await desk.send()
    assert [("sent", ""), ("undeliverable", "expired")] == await desk.outcomes()
    assert ["slow@example.com"] == [mail.to for mail in desk.box.newest()]


async def test_replay_does_not_send_an_expired_code(desk):
    """A dead letter whose cause is gone only after the code expired."""
    await desk.db.pool.execute("ALTER TABLE messages ADD CONSTRAINT bug CHECK (user_id <> 7)")
    await desk.tell(secret(good_for_s=-1))
    assert 1 == len(await desk.dead())
    assert CODE not in await _columns(desk.db)
    await desk.db.pool.execute("ALTER TABLE messages DROP CONSTRAINT bug")
    await desk.consumer.replay()
    await desk.send()
    assert [("undeliverable", "expired")] == await desk.outcomes()


OTHER_KEY = ECKey.generate_key("P-256", private=True)
CANNOT = "the seal cannot be opened: another key, or spoilt"
NONE = "what is sealed is no message"


def _spoilt(message, at):
    message.sealed = message.sealed[:at] + ("A" if message.sealed[at] != "A" else "B") + message.sealed[at + 1 :]
    return message


BROKEN = {
    "another key": (lambda: secret(key=OTHER_KEY), CANNOT),
    "no JWE": (lambda: _with(secret(), f"{CODE}.{EMAIL}"), CANNOT),
    "not ASCII": (lambda: _with(secret(), "код"), CANNOT),
    "spoilt text": (lambda: _spoilt(secret(), -30), CANNOT),
    "compressed": (lambda: sealed("{}", zip="DEF"), CANNOT),
    "another algorithm": (lambda: sealed("{}", alg="ECDH-ES+A128KW"), CANNOT),
    "no JSON": (lambda: sealed(CODE), NONE),
    "nothing": (lambda: sealed("{}"), NONE),
    "no code": (lambda: secret(code=""), NONE),
    "an address for all": (lambda: secret(address=f"{EMAIL}, all@example.com"), NONE),
    "a phone that is none": (lambda: secret("verify_phone", address="8 900 000"), NONE),
    "a number by e-mail": (
        lambda: secret("verify_email", channel="sms", address=PHONE),
        "verify_email does not go by sms",
    ),
}


def _with(message, text):
    message.sealed = text
    return message


@pytest.mark.parametrize("case", BROKEN)
async def test_what_cannot_be_opened_fails_and_holds_up_nobody(desk, case):
    """At once and for good, with a reason that quotes nothing; the one behind it goes out."""
    make, error = BROKEN[case]
    await desk.tell(make(), secret(user=8))
    with structlog.testing.capture_logs() as logs:
        await desk.send()
    assert [("failed", error), ("sent", "")] == await desk.outcomes()
    assert [error] == [line["error"] for line in logs if "error" in line]
    held = await _columns(desk.db)
    assert not any(canary in f"{logs}{held}" for canary in (CODE, EMAIL, PHONE, "all@"))


async def test_the_table_refuses_to_keep_a_secret(desk):
    """Neither a seal after the end, nor a text of what was sealed, nor a secret that never expires."""
    await desk.tell(secret())
    for change_of in ("text = 'x'", "status = 'failed', next_attempt_at = NULL", "sealed = NULL", "expires_at = NULL"):
        with pytest.raises(asyncpg.CheckViolationError):
            await desk.db.pool.execute(f"UPDATE messages SET {change_of}")


async def test_secrets_are_forgotten_after_a_week(desk):
    """In bounded batches, whatever became of them; messages about orders and welcomes stay."""
    await desk.tell(contact(), change(), registration(), secret(), secret(good_for_s=-1), secret(), secret())
    await desk.make_due()
    await desk.send()
    assert 0 == await messages.forget_secrets(desk.db)
    week = timedelta(days=7)
    await desk.db.pool.execute(
        "UPDATE messages SET created_at = created_at - $1::interval, expires_at = expires_at - $1::interval"
        " WHERE message_id <> (SELECT max(message_id) FROM messages)",
        week + timedelta(minutes=11),
    )
    assert [2, 1, 0] == [await messages.forget_secrets(desk.db, batch=2) for _ in range(3)]
    kinds = [row["kind"] for row in await desk.rows()]
    assert [None, "welcome", "verify_email"] == kinds
    assert (await desk.rows())[-1]["expires_at"] > datetime.now(UTC)


@contextlib.asynccontextmanager
async def _mailbox(log):
    """The mailbox as a process of its own; gives its addresses."""
    ports = stack.free_ports(["web", "smtp", "sms"])
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    environment = {f"MAILBOX_{name.upper()}": address for name, address in addresses.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "notifications.mailbox",
        env={"MAILBOX_LOG_LEVEL": "debug", **environment}, stdout=log, stderr=log,
    )  # fmt: skip
    try:
        yield addresses
    finally:
        process.terminate()
        await process.wait()


async def test_logs_of_the_processes_name_nobody(desk, tmp_path):
    """Real processes at log level debug, with all that can happen to a code: no code, phone or address is in them."""
    with structlog.testing.capture_logs() as told:
        await desk.tell(
            contact(email="anna@spam.example"),
            change(),
            registration(),
            registration(promo=CODE, user_phone=PHONE),
            desk.letter(secret(), payload=b'{"kind": "verify_email", "sealed": "802417"'),
            secret(),
            secret("verify_phone"),
            secret("reset_password"),
            secret("reset_password", channel="sms"),
            secret(address="anna@bounce.example"),
            secret(address="anna@busy.example"),
            secret(address="anna@drop.example"),
            secret("verify_phone", address="+79000009001"),
            secret("verify_phone", address="+79000009002"),
            secret(key=OTHER_KEY),
            secret(good_for_s=-1),
        )
    assert 2 == len(await desk.dead())
    with (tmp_path / "log").open("w+b") as log:
        async with _mailbox(log) as addresses:
            where = {"smtp": addresses["smtp"], "sms_url": f"http://{addresses['sms']}/sms"}
            process = await desk.started("workers", log=log, log_level="debug", kafka="127.0.0.1:1", **where)

            async def left():
                return sum(row["status"] in ("queued", "waiting") for row in await desk.rows())

            try:
                await until(left, 0, within_s=40)
            finally:
                process.terminate()
                await process.wait()
        log.seek(0)
        lines = log.read().decode()
    assert [
        ("failed", "SMTP 554 5.7.1 refused for its content"),
        *[("sent", "")] * 5,
        ("failed", "SMTP 550"),
        ("sent", ""),
        ("sent", ""),
        ("failed", "HTTP 400"),
        ("sent", ""),
        ("failed", CANNOT),
        ("undeliverable", "expired"),
    ] == await desk.outcomes()
    assert '"event": "mail"' in lines
    assert "message failed" in lines
    assert "message to be tried again" in lines
    for canary in (CODE, "7900000", "user7@", "anna@", "Анна"):
        assert canary not in lines
        assert canary not in str(told)
    held = await _columns(desk.db)
    for canary in (CODE, "7900000", "user7@", "anna@"):
        assert canary not in held


async def test_the_mailbox_names_nobody_in_its_log(box_and_addresses):
    """Its page shows who got what: its log counts."""
    _, addresses = box_and_addresses
    with structlog.testing.capture_logs() as logs:
        async with SmsGateway(f"http://{addresses['sms']}/sms", timeout_s=2).open() as session:
            await session.send(Outgoing("k", PHONE, "", CODE, AT))
    assert [{"event": "sms", "id": 1, "fresh": True, "log_level": "info"}] == logs
