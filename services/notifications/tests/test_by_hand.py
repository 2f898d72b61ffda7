"""Messages that an admin sends: texts to the letter, each once, refusals that quote nothing; one message shown."""

import asyncio
from pathlib import Path

import asyncpg
import grpc
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from abacus.identity.v1 import events_pb2 as identity_pb2
from abacus.notifications.v1 import notifications_pb2 as pb
from abacus.notifications.v1 import notifications_pb2_grpc
from kit import errors
from kit.testing import refused, until
from notifications import by_hand, messages, rpc
from notifications.kinds import lines
from notifications.messages import Channel
from notifications.tests.conftest import change, contact, registration, secret
from notifications.texts import KINDS

GOLDEN = Path(__file__).parent / "golden"
EMAIL, SMS = pb.CHANNEL_EMAIL, pb.CHANNEL_SMS
TO = {EMAIL: "anna@example.com", SMS: "+79000000007"}
NOTICE = {EMAIL: {"subject": "Стол заказов", "text": "Мы переехали."}, SMS: {"text": "Мы переехали."}}


@pytest.fixture
async def stub(desk, open_door):
    service = pb.DESCRIPTOR.services_by_name["NotificationsService"]
    return notifications_pb2_grpc.NotificationsServiceStub(await open_door(service, rpc.Notifications(desk.db)))


def asked(channel=EMAIL, **fields):
    """A notice, or what is given instead."""
    return pb.SendNotificationRequest(
        **{"channel": channel, "to": TO.get(channel), "template": "notice", "variables": NOTICE.get(channel), **fields}
    )


async def _shown(stub, notification_id):
    return (await stub.GetNotification(pb.GetNotificationRequest(notification_id=notification_id))).notification


async def test_each_template_by_each_way_in_each_language(desk, stub):
    """The mailbox gets exactly these texts, whatever the values hold."""
    text = "Мы переехали.\r\n\r\n  Новый адрес: Абакан,\u2028ул. Счётная, 5 \x1b[2J{{ order }} <b>\u202e\n\n"
    people = {"ru": ("anna@by-hand.example", "+79000700001"), "en": ("boris@by-hand.example", "+79000700002")}
    for language, (email, phone) in people.items():
        for request in (
            asked(to=email, variables={"subject": "Стол\r\nBcc: all@example.com", "text": text}),
            asked(SMS, to=phone, variables={"text": text}),
            asked(to=email, template="gift", variables={"name": "Анна\nБ", "promo": "G-17"}),
            asked(to=email, template="gift", variables={"promo": "G\t18"}),
            asked(SMS, to=phone, template="gift", variables={"promo": "G-17"}),
        ):
            request.language = language
            await stub.SendNotification(request)
    await desk.send()
    for language, addresses in people.items():
        told = [message for message in desk.box.newest() if message.to in addresses]
        written = "\n".join(sorted(f"--- {it.channel}: {it.subject}\n{it.text.rstrip()}\n" for it in told))
        assert (GOLDEN / f"by_hand_{language}.txt").read_text() == written


@pytest.mark.parametrize(
    ("asked_for", "accepted", "end"),
    [("", "", "Ваш Abacus"), ("", "en-GB,ru;q=0.5", "Yours, Abacus"), ("ru", "en", "Ваш Abacus")],
)
async def test_in_which_language_it_is(desk, stub, asked_for, accepted, end):
    """The one it names, else the caller's, else Russian; a contact with that address has no say."""
    await desk.tell(contact(email=TO[EMAIL], language="en" if end == "Ваш Abacus" else "ru"))
    await stub.SendNotification(asked(language=asked_for), metadata=[("accept-language", accepted)])
    await desk.send()
    assert end == desk.box.newest()[0].text.splitlines()[-1]


@pytest.mark.parametrize("channel", [EMAIL, SMS])
async def test_it_is_queued_sent_and_shown(stub, desk, channel):
    """Queued when the call is answered; what became of it is shown under the id that the call gave."""
    answer = await stub.SendNotification(asked(channel))
    assert pb.MESSAGE_STATUS_QUEUED == answer.status
    before = await _shown(stub, answer.notification_id)
    assert (answer.notification_id, pb.MESSAGE_STATUS_QUEUED, channel, TO[channel], "notice", False, False) == (
        before.notification_id,
        before.status,
        before.channel,
        before.to,
        before.template,
        before.HasField("error_message"),
        before.HasField("sent_at"),
    )
    await desk.send()
    after = await _shown(stub, answer.notification_id)
    assert (pb.MESSAGE_STATUS_SENT, TO[channel]) == (after.status, after.to)
    assert before.created_at.ToDatetime() < after.sent_at.ToDatetime()
    assert [TO[channel]] == [message.to for message in desk.box.newest()]


async def test_a_running_process_sends_it(desk, stub):
    """A worker elsewhere finds it by itself."""
    process = await desk.started("workers", kafka="127.0.0.1:1")
    try:
        answer = await stub.SendNotification(asked())

        async def status():
            return (await _shown(stub, answer.notification_id)).status

        await until(status, pb.MESSAGE_STATUS_SENT)
    finally:
        process.terminate()
        await process.wait()


async def test_a_repeat_is_the_same_message(desk, stub):
    """One request id, one message, ten at once and after it was sent; another request under it is refused."""
    request = asked(request_id="r1")
    answers = await asyncio.gather(*(stub.SendNotification(request) for _ in range(10)))
    await desk.send()
    answers.append(await stub.SendNotification(asked(), metadata=[("idempotency-key", "r1")]))
    assert 1 == len({(answer.notification_id, answer.status) for answer in answers})
    with refused(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await stub.SendNotification(asked(request_id="r1", language="en"))
    assert (1, 0) == (desk.box.count(), desk.box.newest()[0].repeats)


async def test_without_a_request_id_each_call_is_a_message(desk, stub):
    """Whoever says it twice means it: also where a registration told the same promo id before, in other words."""
    promo = registration().promo_id
    await desk.tell(registration())
    for _ in range(2):
        await stub.SendNotification(asked(SMS, template="gift", variables={"promo": promo}))
    await desk.make_due()
    await desk.send()
    assert [*2 * [f"Вам подарок: {promo}. Abacus"], f"Добро пожаловать! Ваш подарок: {promo}. Abacus"] == sorted(
        sms.text for sms in desk.box.newest()
    )
    assert 0 == sum(sms.repeats for sms in desk.box.newest())


@pytest.mark.parametrize(
    ("to", "attempts", "status", "error"),
    [
        ("anna@bounce.example", 1, pb.MESSAGE_STATUS_FAILED, "SMTP 550 5.1.1 no such mailbox"),
        ("anna@busy.example", 1, pb.MESSAGE_STATUS_QUEUED, "SMTP 451 4.7.1 try again later"),
        ("anna@busy.example", 3, pb.MESSAGE_STATUS_SENT, None),
    ],
)
async def test_it_is_tried_as_every_message(desk, stub, to, attempts, status, error):
    """Refused for good, tried again, sent in the end; a reason is shown while there is one."""
    answer = await stub.SendNotification(asked(to=to))
    for _ in range(attempts):
        await desk.make_due()
        await desk.send()
    shown = await _shown(stub, answer.notification_id)
    assert (status, error, to) == (
        shown.status,
        shown.error_message if shown.HasField("error_message") else None,
        shown.to,
    )


async def test_what_failed_is_sent_again_on_demand(desk, stub):
    """`replay` queues it, with its text and its language."""
    await stub.SendNotification(asked(SMS, to="+79000009001", language="en"))
    await desk.send()
    assert "failed" == (await desk.row())["status"]
    await desk.db.pool.execute("UPDATE messages SET address = $1", TO[SMS])
    assert 1 == await messages.queue_failed(desk.db)
    await desk.send()
    assert ["Мы переехали.\nAbacus"] == [sms.text for sms in desk.box.newest()]


async def test_a_kind_of_the_version_after_is_left_to_it(desk, stub):
    """A worker that does not know it never sends other words: the message waits for one that does."""
    await stub.SendNotification(asked())
    await desk.db.pool.execute("UPDATE messages SET kind = 'of_tomorrow'")
    await desk.send()
    assert ("queued", "template ru/of_tomorrow.txt: KeyError 'of_tomorrow'") == (await desk.outcomes())[0]
    await desk.db.pool.execute("UPDATE messages SET kind = 'notice'")
    await desk.make_due()
    await desk.send()
    assert "sent" == (await desk.row())["status"]


CODES = {kind for kind, its in KINDS.items() if its.content is identity_pb2.Secret}


@pytest.mark.parametrize("template", sorted({*KINDS, "no_such"} - {*by_hand.TEMPLATES}))
@pytest.mark.parametrize("channel", [EMAIL, SMS])
async def test_which_templates_are_not_sent_by_hand(desk, stub, channel, template):
    """Neither those of orders, nor those that carry a code, nor one that is not there."""
    with refused(grpc.StatusCode.NOT_FOUND, "TEMPLATE_NOT_FOUND", field="template"):
        await stub.SendNotification(asked(channel, template=template))
    assert [] == await desk.rows()


def test_no_template_that_carries_a_code_is_in_the_table():
    """There are such, and the table has none of them."""
    assert {"verify_email", "verify_phone", "reset_password"} == CODES
    assert set() == CODES & set(by_hand.TEMPLATES)


def _by_mail(**variables):
    return {"variables": variables}


def _by_sms(to=TO[SMS], **variables):
    return {"channel": SMS, "to": to, "variables": variables}


BAD = {
    "no channel": ({"channel": 0}, "INVALID_FIELD", "channel"),
    "a channel that is none": ({"channel": 9}, "INVALID_FIELD", "channel"),
    "no address": ({"to": ""}, "INVALID_FIELD", "to"),
    "no e-mail address": ({"to": "secret.example"}, "ADDRESS_INVALID", "to"),
    "two addresses": ({"to": "secret@example.com, all@example.com"}, "ADDRESS_INVALID", "to"),
    "a header": ({"to": "secret@example.com\r\nBcc: all@example.com"}, "ADDRESS_INVALID", "to"),
    "an encoded word": ({"to": "=?utf-8?q?secret?=@example.com"}, "ADDRESS_INVALID", "to"),
    "a phone by e-mail": ({"to": "+79000008024"}, "ADDRESS_INVALID", "to"),
    "an e-mail by SMS": (_by_sms("secret@example.com", text="t"), "ADDRESS_INVALID", "to"),
    "no E.164": (_by_sms("8 900 000 80 24", text="t"), "ADDRESS_INVALID", "to"),
    "no template": ({"template": ""}, "INVALID_FIELD", "template"),
    "a template elsewhere": ({"template": "../ru/notice"}, "INVALID_FIELD", "template"),
    "nothing to say": (_by_mail(), "VARIABLE_MISSING", "variables[subject]"),
    "no text": (_by_mail(subject="secret"), "VARIABLE_MISSING", "variables[text]"),
    "a text of nothing": (_by_mail(subject="secret", text=" \n\x00\u202e\n"), "VARIABLE_MISSING", "variables[text]"),
    "a variable more": (_by_mail(subject="s", text="t", code="secret"), "VARIABLE_UNKNOWN", "variables"),
    "a subject by SMS": (_by_sms(subject="secret", text="t"), "VARIABLE_UNKNOWN", "variables"),
    "a long subject": (_by_mail(subject="s" * 201, text="secret"), "INVALID_FIELD", "variables[subject]"),
    "a long SMS": (_by_sms(text="secret" * 111), "INVALID_FIELD", "variables[text]"),
    "an SMS of long signs": (_by_sms(text="🎁" * 331), "INVALID_FIELD", "variables[text]"),
    "a very long text": (_by_mail(subject="s", text="s" * 5001), "INVALID_FIELD", "variables[text]"),
    "a name as long as a book": ({"variables": {"secret" * 100_000: "t"}}, "VARIABLE_UNKNOWN", "variables"),
    "too many": ({"variables": {f"secret{number}": "t" for number in range(21)}}, "INVALID_FIELD", "variables"),
    "a language of nobody": ({"language": "de"}, "INVALID_FIELD", "language"),
}


@pytest.mark.parametrize("case", BAD)
async def test_what_cannot_be_sent_is_refused(desk, stub, case):
    """By its field; neither the answer nor the log quotes an address or a value, and no row is made."""
    fields, reason, field = BAD[case]
    code = grpc.StatusCode.INVALID_ARGUMENT
    with structlog.testing.capture_logs() as logs, refused(code, reason, field=field) as told:
        await stub.SendNotification(asked(**fields, request_id="r1"))
    assert not any(canary in f"{told}{told.fields}{told.metadata}{logs}" for canary in ("secret", "8024", "80 24"))
    assert [] == await desk.rows()
    await stub.SendNotification(asked(request_id="r1"))  # what was refused is not kept


@pytest.mark.parametrize(
    ("channel", "variables"),
    [
        (EMAIL, {"subject": "s" * 200, "text": "т" * 5000}),
        (SMS, {"text": "т" * 660}),
        (SMS, {"text": "🎁" * 330}),
        (SMS, {"text": f"\n\n  {'т' * 660}\x00\n"}),
    ],
)
async def test_the_longest_texts_go_out(desk, stub, channel, variables):
    """As they are shown, without what was taken out."""
    await stub.SendNotification(asked(channel, variables=variables))
    await desk.send()
    assert variables["text"].strip("\n\x00 ") in desk.box.newest()[0].text


@given(st.text())
def test_lines_are_lines_of_one_line_each(text):
    """Whatever comes, it stays as it is when it comes again, and holds no sign that is invisible."""
    assert lines(text) == lines(lines(text))
    assert not [sign for sign in lines(text) if not sign.isprintable() and sign != "\n"]


async def test_messages_of_events_are_shown_too(desk, stub):
    """About orders, a welcome, a code, by their ids; to whom a code goes is shown once it went."""
    await desk.tell(contact(), change("PAID"), registration(), secret())
    mail, sms, welcome, code = [row["message_id"] for row in await desk.rows()]
    assert ["", "", TO[SMS], ""] == [(await _shown(stub, one)).to for one in (mail, sms, welcome, code)]
    await desk.make_due()
    await desk.send()
    assert [
        ("paid", EMAIL, "user7@example.com"),
        ("paid", SMS, TO[SMS]),
        ("welcome", SMS, TO[SMS]),
        ("verify_email", EMAIL, "user7@example.com"),
    ] == [(it.template, it.channel, it.to) for it in [await _shown(stub, one) for one in (mail, sms, welcome, code)]]


async def test_a_message_that_is_not_there(stub):
    """Neither an id that nobody gave, nor one that cannot be."""
    with refused(grpc.StatusCode.NOT_FOUND, "NOTIFICATION_NOT_FOUND"):
        await _shown(stub, 2**63 - 1)
    for impossible in (0, -1):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, errors.INVALID_FIELD.name, field="notification_id"):
            await _shown(stub, impossible)


async def test_lists_show_it_with_its_text(desk, stub):
    """Among the others, of no user; the row says who sent it."""
    await stub.SendNotification(asked(SMS))
    await desk.send()
    (told,) = (await stub.ListMessages(pb.ListMessagesRequest())).messages
    assert (0, 0, "notice", TO[SMS], "Мы переехали.\nAbacus") == (
        told.user,
        told.order_id,
        told.kind,
        told.address,
        told.text,
    )
    assert ("local", Channel.SMS) == ((await desk.row())["sent_by"], (await desk.row())["channel"])


@pytest.mark.parametrize(
    "nonsense", ["in_language = NULL", "sent_by = NULL", "in_language = 'de'", "by_contact = true"]
)
async def test_the_table_refuses_a_message_of_nobody(desk, stub, nonsense):
    """Who sent it and its language belong together, and it never goes to another address."""
    await stub.SendNotification(asked())
    with pytest.raises(asyncpg.CheckViolationError):
        await desk.db.pool.execute(f"UPDATE messages SET user_id = 7, {nonsense}")
