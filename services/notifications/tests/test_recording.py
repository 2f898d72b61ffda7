"""From topics to rows: each change of an order is noted once, what is broken is set aside with its reason."""

import pytest

from notifications import __main__ as program
from notifications.messages import Channel
from notifications.orders import CHANNELS
from notifications.tests.conftest import change, contact, later

PLAN = {
    "AWAITING_PAYMENT": {"email"},
    "PAID": {"email", "sms"},
    "CANCELLED": {"email"},
    "FAILED": {"email"},
    "RECEIVED": {"email"},
    "NEW": set(),
    "ASSEMBLING": {"email"},
    "READY_FOR_PICKUP": set(),
    "DELIVERING": set(),
}


@pytest.mark.parametrize("status", PLAN)
async def test_which_status_goes_by_which_channel(desk, status):
    """The table of the architecture, one message each."""
    await desk.tell(contact(), change(status))
    assert PLAN[status] == {row["channel"] for row in await desk.rows()}


def test_the_table_names_no_channel_twice():
    """Two messages of a channel about one change would be one too many."""
    assert all(len(set(channels)) == len(channels) for channels in CHANNELS.values())
    assert {Channel.EMAIL, Channel.SMS} == {channel for channels in CHANNELS.values() for channel in channels}


async def test_an_event_that_comes_again_changes_nothing(desk):
    """Neither the same event nor another one of the same change makes a second message."""
    again = desk.letter(change(), event_id="0190c8a0-0000-7000-8000-000000000001")
    await desk.tell(contact(), again, again)
    await desk.tell(again)
    await desk.tell(change())
    await desk.send()
    assert "sent" == (await desk.row())["status"]
    assert [0] == [message.repeats for message in desk.box.newest()]


async def test_a_contact_that_comes_later_releases_what_waited(desk):
    """Without a contact a message waits, visibly, and goes out when the contact is there."""
    await desk.tell(change())
    await desk.send()
    row = await desk.row()
    assert ("waiting", "no contact of the user is known") == (row["status"], row["error"])
    await desk.tell(contact())
    await desk.send()
    row = await desk.row()
    assert ("sent", "", "user7@example.com") == (row["status"], row["error"], row["address"])


async def test_an_older_contact_does_not_replace_a_newer_one(desk):
    """The broker's time decides, not the order in which a replay happens to come."""
    await desk.tell(desk.letter(contact(email="new@example.com"), at=later(10)))
    await desk.tell(desk.letter(contact(email="old@example.com"), at=later(5)), change())
    await desk.send()
    assert ["new@example.com"] == [message.to for message in desk.box.newest()]


BROKEN = {
    "no JSON": (b"\xff", {}, "codec can't decode"),
    "not an object": (b"[]", {}, "not a JSON object"),
    "empty": (b"{}", {}, "order_id: must be greater than 0"),
    "no user": (b'{"orderId": 1, "version": 1, "status": "ORDER_STATUS_PAID"}', {}, "user: must be greater than 0"),
    "unknown status": (b'{"orderId":1,"version":1,"user":1,"status":"ORDER_STATUS_MELTED"}', {}, "status: must not be"),
    "unknown number": (
        b'{"orderId":1,"version":1,"user":1,"status":77}',
        {},
        "status: value must be one of",
    ),
    "unknown type": (b"{}", {"type": "abacus.loms.v2.OrderMelted"}, "type abacus.loms.v2.OrderMelted"),
    "NUL in a name": (
        b'{"orderId":1,"version":1,"user":1,"status":"ORDER_STATUS_PAID","items":[{"sku":1,"name":"\\u0000"}]}',
        {},
        "UntranslatableCharacterError",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_is_broken_becomes_a_dead_letter_and_those_behind_it_go_on(desk, case):
    """With its reason; the messages before and after it have their effect."""
    payload, headers, reason = BROKEN[case]
    broken = desk.letter(None, payload=payload)
    broken.headers.update(headers)
    await desk.tell(contact(), change(order=1), broken, change(order=2))
    assert [1, 2] == [row["order_id"] for row in await desk.rows()]
    (told,) = await desk.dead()
    assert reason in told


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user": 0}, "user_id: must be greater than 0"),
        (
            {"email": "a@example.com\nBcc: all@example.com"},
            "email: does not match",
        ),
        ({"email": "a@example.com, all@example.com"}, "email: not an address"),
        ({"language": "de"}, "language: must be in list [, ru, en]"),
        ({"email": "nowhere"}, "email: not an address"),
        ({"email": "=?utf-8?q?victim?=@example.com"}, "email: not an address"),
        ({"phone": "8 900 000"}, "phone: not an E.164 number"),
    ],
)
async def test_a_contact_that_nobody_could_write_to_is_a_dead_letter(desk, fields, reason):
    """Addresses end in headers: they are refused at the door."""
    await desk.tell(contact(**fields))
    (told,) = await desk.dead()
    assert told.startswith(reason)


async def test_replay_handles_a_dead_letter_after_the_fix(desk):
    """Here the fix is the table's row that was in the way; a letter still broken stays, with its new reason."""
    await desk.db.pool.execute("ALTER TABLE messages ADD CONSTRAINT bug CHECK (order_id <> 2)")
    await desk.tell(contact(), change(order=1), change(order=2), desk.letter(None, payload=b"?"), change(order=3))
    assert 2 == len(await desk.dead())
    await desk.db.pool.execute("ALTER TABLE messages DROP CONSTRAINT bug")
    assert {"replayed": 1, "dead_letters": 1} == await desk.consumer.replay()
    assert [1, 3, 2] == [row["order_id"] for row in await desk.rows()]
    assert 1 == (await program.status(desk.db))["dead_letters"]
    await desk.send()
    assert {"sent"} == {row["status"] for row in await desk.rows()}
