"""The local mailbox: what it shows, what it counts, what it forgets."""

import aiohttp
import pytest

from notifications.channels import MailRelay, Outgoing, RefusedError, SmsGateway
from notifications.mailbox.box import Box
from notifications.tests.conftest import AT

SHOP = "Abacus <shop@abacus.example>"


@pytest.fixture
async def web(box_and_addresses):
    _, addresses = box_and_addresses
    async with aiohttp.ClientSession(f"http://{addresses['web']}") as http:
        yield http


@pytest.fixture
def send(box_and_addresses):
    _, addresses = box_and_addresses
    relay = MailRelay(addresses["smtp"], sender=SHOP, timeout_s=2)
    gateway = SmsGateway(f"http://{addresses['sms']}/sms", timeout_s=2)

    async def hand_over(key, to, subject="", text="text"):
        async with (relay if "@" in to else gateway).open() as session:
            await session.send(Outgoing(key, to, subject, text, AT))

    return hand_over


async def _get(web, path, status=200):
    async with web.get(path) as answer:
        assert status == answer.status
        return await answer.text()


async def test_programs_read_and_clear_it(web, send):
    """JSON, the newest first; `to` filters in any case of letters; a repeat is counted, not delivered twice."""
    await send("k1", "anna@example.com", "Привет", "Строка\n вторая\n")
    await send("k1", "anna@example.com", "Привет", "Строка\n вторая\n")
    await send("k2", "+79000000001", text="Заказ оплачен")
    await send("k2", "+79000000001", text="Заказ оплачен")
    async with web.get("/api/messages") as answer:
        sms, mail = (await answer.json())["messages"]
    assert mail | {"at": ""} == {
        "id": 1,
        "channel": "email",
        "from": SHOP,
        "to": "anna@example.com",
        "subject": "Привет",
        "text": "Строка\n вторая\n",
        "key": "<k1@abacus.example>",
        "repeats": 1,
        "at": "",
    }
    assert ("sms", "+79000000001", "Заказ оплачен", "k2", 1) == tuple(
        sms[name] for name in ("channel", "to", "text", "key", "repeats")
    )
    async with web.get("/api/messages", params={"to": "ANNA@example.com"}) as answer:
        assert [1] == [message["id"] for message in (await answer.json())["messages"]]
    async with web.delete("/api/messages") as answer:
        assert {"deleted": 2} == await answer.json()
    assert "Nothing came yet" in await _get(web, "/")
    assert "ok" in await _get(web, "/health")
    await _get(web, "/api/messages?limit=0", 400)


async def test_pages_escape_what_strangers_write(web, send):
    """Neither the list nor a message runs what is in it, and nothing is loaded from elsewhere."""
    await send("k", "anna@example.com", "<script>alert(1)</script>", "<img src=x onerror=alert(2)>")
    await send("s", "+79000000001", text="<b>bold</b>")
    for path in ("/", "/messages/1", "/messages/2", "/?to=%3Cscript%3E"):
        page = await _get(web, path)
        assert not any(raw in page for raw in ("<script", "<img", "<b>", "http://", "https://"))
    async with web.get("/") as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    await _get(web, "/messages/3", 404)
    await _get(web, "/messages/x", 404)


async def test_pages_of_the_list(web, box_and_addresses):
    """A hundred on a page, links to the next."""
    box, _ = box_and_addresses
    for number in range(101):
        box.put(channel="sms", sender="", to="+79000000001", subject="", text=f"no {number}", key="", source="")
    first, second = await _get(web, "/"), await _get(web, "/?page=2")
    assert ("no 100<" in first, "no 0<" in first, "page 1 of 2" in first) == (True, False, True)
    assert ("no 100<" in second, "no 0<" in second) == (False, True)
    await _get(web, "/?page=x", 400)


async def test_the_gateway_refuses_what_is_no_message(box_and_addresses):
    """400 with a reason, and nothing delivered."""
    box, addresses = box_and_addresses
    async with aiohttp.ClientSession() as http:
        for body in (b"", b"[]", b'{"to": "+79000000001"}', b'{"to": "8900", "text": "x"}', b'{"to": 1, "text": "x"}'):
            async with http.post(f"http://{addresses['sms']}/sms", data=body) as answer:
                assert 400 == answer.status
    assert 0 == box.count()


async def test_a_slow_recipient_takes_its_time(send):
    """The answer comes after MAILBOX_SLOW_S, and the message with it."""
    await send("k", "slow@example.com", "s")
    with pytest.raises(RefusedError):
        await send("k", "a@bounce.example", "s")


def test_it_forgets_the_oldest():
    """Bounded in number and in bytes; a forgotten message that comes again is new."""
    box = Box(max_messages=3, max_bytes=10_000)
    for number in range(5):
        box.put(channel="email", sender="", to="a", subject="", text="x", key=f"k{number}", source="")
    assert ["k4", "k3", "k2"] == [message.key for message in box.newest()]
    _, fresh = box.put(channel="email", sender="", to="a", subject="", text="x", key="k0", source="")
    assert fresh
    box.put(channel="email", sender="", to="a", subject="", text="x" * 9_000, key="big", source="")
    assert ["big"] == [message.key for message in box.newest()]
