"""How often something may be tried."""

import asyncio
import contextlib
import json
import math

import grpc
import pytest
from grpc import StatusCode
from hypothesis import given as generated
from hypothesis import strategies as st

from abacus.identity.v1 import identity_pb2
from identity import limits, users
from identity.limits import Charge, Limits
from identity.settings import Settings
from identity.tests.conftest import EMAIL, OTHER_PASSWORD, PASSWORD, PHONE
from kit.errors import Error
from kit.settings import read
from kit.testing import refused

HERE, THERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture
def limited(db, given):
    return Limits(db, given, b"k" * 32)


async def taken(limited, charges, *, times=1, at_once=False):
    """How many of so many tries are let through, and the longest wait that the others are told."""
    if at_once:
        results = await asyncio.gather(*(limited.take(charges) for _ in range(times)), return_exceptions=True)
    else:
        results = [await told(limited.take(charges)) for _ in range(times)]
    refusals = [result for result in results if result is not None]
    assert all("TOO_MANY_TRIES" == refusal.reason for refusal in refusals), refusals
    return times - len(refusals), max((refusal.retry_after_s for refusal in refusals), default=0)


async def told(awaited):
    try:
        return await awaited
    except Error as error:
        return error


async def pass_by(db, seconds):
    """As if so much time had gone by."""
    await db.pool.execute("UPDATE limits SET free_at = free_at - make_interval(secs => $1)", seconds)


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_rate_lets_its_count_through(limited, db, at_once):
    """One after another or all at once; then one more for each period over the count, never more than all."""
    charges = limited.sending("email anna@example.com", HERE)
    assert (5, 120) == await taken(limited, charges, times=40, at_once=at_once)
    await pass_by(db, 120)
    assert (1, 120) == await taken(limited, charges, times=3)
    await pass_by(db, 600)
    assert 4 == (await taken(limited, charges, times=8))[0]  # ten a day
    await pass_by(db, 24 * 3600)
    assert 5 == (await taken(limited, charges, times=8))[0]


async def test_a_refused_try_counts_nowhere(limited, db):
    """Where one of several rates is used up, the others are as they were."""
    await taken(limited, limited.sending("a", HERE), times=5)
    before = await db.pool.fetch("SELECT * FROM limits ORDER BY key")
    assert (0, 120) == await taken(limited, limited.sending("a", HERE), times=20)
    assert before == await db.pool.fetch("SELECT * FROM limits ORDER BY key")


async def test_what_is_counted_apart(limited):
    """Each target, each address and each thing that is tried has a count of its own."""
    assert 5 == (await taken(limited, limited.sending("a", HERE), times=9))[0]
    assert 5 == (await taken(limited, limited.sending("b", HERE), times=9))[0]
    assert 10 == (await taken(limited, limited.login("a", HERE), times=19))[0]
    assert 10 == (await taken(limited, limited.login("a", THERE), times=19))[0]
    assert 120 == (await taken(limited, limited.registration(HERE), times=129))[0]


async def test_a_success_gives_back(limited, db):
    """The pair is clear; of target and address only this try is taken back."""
    for _ in range(12):
        charges = limited.login("a", HERE)
        await limited.take(charges)
        async with db.transaction() as conn:
            await limited.give_back(conn, charges)
    await taken(limited, limited.login("a", HERE), times=9)
    charges = limited.login("a", HERE)
    await limited.take(charges)
    async with db.transaction() as conn:
        await limited.give_back(conn, charges)
    assert 10 == (await taken(limited, limited.login("a", HERE), times=30))[0]
    # 19 failures of this target by now: of its hundred, 81 are left to other addresses.
    left = [await taken(limited, limited.login("a", f"203.0.113.{number}"), times=10) for number in range(10)]
    assert 81 == sum(through for through, _ in left)


async def test_crossing_tries_do_not_deadlock(limited, db):
    """Whatever the order in which the rates are named."""
    keys = [bytes([number]) * 32 for number in range(6)]
    charges = [Charge(key, 3600, 1) for key in keys]

    async def take(mine):
        await limited.take(mine)
        async with db.transaction() as conn:
            await limited.give_back(conn, mine[::-1])

    await asyncio.gather(*(take(charges[turn % 6 :] + charges[: turn % 6]) for turn in range(120)))
    used_up = await db.pool.fetchval("SELECT count(*) FROM limits WHERE free_at > clock_timestamp()")
    assert 0 == used_up


async def test_an_sms_that_nobody_gets_costs_nothing(db, given):
    """But when the money is used up, it is refused as all are: so the refusal tells nothing."""
    limited = Limits(db, given.model_copy(update={"sms_in_all": "2/86400"}), b"k" * 32)
    assert 9 == (await taken(limited, limited.sms(is_sent=False), times=9))[0]
    assert (2, 12 * 3600) == await taken(limited, limited.sms(is_sent=True), times=4)
    assert (0, 12 * 3600) == await taken(limited, limited.sms(is_sent=False), times=4)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_who_counts_as_one(address, network):
    """An IPv4 address, however written; of IPv6 a /64."""
    assert network == limits.network(address)


@generated(st.floats(min_value=0.002, max_value=1e6))
def test_waits_are_whole_minutes(wait_s):
    """At least one, never less than the wait, at most a minute more."""
    told_s = limits.too_many_tries(wait_s).retry_after_s
    assert told_s is not None
    assert 0 == told_s % 60
    assert wait_s <= told_s < max(wait_s + 60, 61)


async def test_what_is_free_is_forgotten(limited, db):
    """Pruning changes no count."""
    await taken(limited, [Charge(b"short", 0.001, 0.001)])
    await taken(limited, limited.sending("a", HERE), times=5)
    await asyncio.sleep(0.002)
    assert 1 == await limits.prune(db)
    assert 0 == (await taken(limited, limited.sending("a", HERE)))[0]


def test_a_rate_that_is_none_is_refused_early(monkeypatch, capsys):
    """The variable is named."""
    monkeypatch.setenv("IDENTITY_SMS_IN_ALL", "10 a day")
    with pytest.raises(SystemExit):
        read(Settings)
    assert "IDENTITY_SMS_IN_ALL: Value error, not count/seconds" in capsys.readouterr().err


class TestDoor:
    """The limits, where they are felt; small ones, so that few hashes are computed."""

    @pytest.fixture
    def overrides(self):
        return {
            "registrations_per_address": "3/60",
            "failures_per_pair": "2/300",
            "failures_per_target": "50/3600",
            "failures_per_address": "8/60",
            "sms_in_all": "3/86400",
            "sends_per_address": "7/3600",
        }

    async def test_registrations_of_an_address(self, house):
        """Those that were refused count too: they tell who has an account."""
        await house.register()
        for _ in range(2):
            with refused(StatusCode.ALREADY_EXISTS):
                await house.register()
        with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES") as error:
            await house.register("ben@example.com")
        assert 60 == error.retry_after_s

    @pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
    async def test_wrong_passwords_of_a_login(self, house, open_house, email):
        """Then also the right one is refused, in any spelling, at every process, and as for a login of nobody."""
        await house.register()
        await house.login()
        for _ in range(2):
            with refused(StatusCode.UNAUTHENTICATED):
                await house.login(email, "not the password")
        for process in (house, await open_house()):
            with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES") as error:
                await process.login(email.upper())
            assert 180 == error.retry_after_s

    async def test_right_passwords_are_not_counted(self, house):
        """However often; and one of them makes wrong ones before it forgotten."""
        await house.register()
        for _ in range(3):
            with refused(StatusCode.UNAUTHENTICATED):
                await house.login(password="not the password")
            await house.login()

    async def test_a_new_password_works_at_once(self, house):
        """After a reset neither wrong logins by this address or in all stand in its way, nor wrong changes."""
        tokens = await house.register()
        limited = house.served.accounts.limits
        await limited.take(limited.login(f"email {EMAIL}", THERE))
        for _ in range(2):
            with refused(StatusCode.UNAUTHENTICATED):
                await house.login(password="not the password")
            with refused(StatusCode.INVALID_ARGUMENT, "PASSWORD_WRONG"):
                await house.change(tokens, current="not the password")
        assert 47 == (await taken(limited, limited._failures(f"login email {EMAIL}", HERE)[1:], times=60))[0]
        await house.ask_reset(email=EMAIL)
        await house.reset((await house.letters())[-1][1].code)
        tokens = await house.login(password=OTHER_PASSWORD)
        await house.change(tokens, current=OTHER_PASSWORD, new=PASSWORD)
        # What another address guessed stays counted against it.
        assert 1 == (await taken(limited, limited.login(f"email {EMAIL}", THERE), times=3))[0]

    async def test_right_passwords_at_once_do_not_refuse_each_other(self, house):
        """Of one login, by both of its doors: each is a failure only until it is known to be none."""
        await house.register()
        await house.register_by_phone()
        logins = [house.login() for _ in range(15)] + [house.login_by_phone() for _ in range(15)]
        results = await asyncio.gather(*logins, return_exceptions=True)
        assert [] == [result for result in results if isinstance(result, Exception)]
        assert {} == house.served.accounts._turns.data

    async def test_wrong_passwords_at_once(self, house):
        """As many are looked at as one after another."""
        await house.register()
        results = await asyncio.gather(*(house.login(password="not it") for _ in range(9)), return_exceptions=True)
        told = [result.code() for result in results]
        assert (2, 7) == (told.count(StatusCode.UNAUTHENTICATED), told.count(StatusCode.RESOURCE_EXHAUSTED))

    async def test_wrong_passwords_of_a_change(self, house):
        """Are counted for the account, as those of a login are for the login."""
        tokens = await house.register()
        for _ in range(2):
            with refused(StatusCode.INVALID_ARGUMENT, "PASSWORD_WRONG"):
                await house.change(tokens, current="not the password")
        with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES"):
            await house.change(tokens)
        await house.login()

    async def test_wrong_codes_and_tokens_of_an_address(self, house):
        """Whatever is guessed at from one address."""
        await house.register()
        for number in range(4):
            with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
                await house.confirm("0", f"anna{number}@example.com")
            with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
                await house.reset(str(number), OTHER_PASSWORD)
        for call in (house.confirm("0"), house.reset("0"), house.login()):
            with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES"):
                await call

    async def test_what_is_sent_to_a_target(self, house):
        """Codes and reset tokens together, five in ten minutes, also where nobody has the address."""
        for email in (EMAIL, "nobody@example.com"):
            await house.db.pool.execute("TRUNCATE limits")
            for _ in range(3):
                await house.send(email)
            await house.ask_reset(email=email)
            await house.ask_reset(email=email.upper())
            for call in (house.send(email), house.ask_reset(email=email)):
                with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES") as error:
                    await call
                assert 120 == error.retry_after_s

    async def test_what_is_asked_for_from_an_address(self, house):
        """Whoever it is for."""
        for number in range(7):
            await house.send(f"anna{number}@example.com")
        with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES"):
            await house.send("anna7@example.com")

    async def test_sms_cost_money(self, house):
        """Three in all, and then none for anybody, though e-mails go on; an SMS to nobody costs nothing."""
        await house.register_by_phone(email=EMAIL)
        await house.send_sms("+79000000001")
        await house.send_sms(PHONE)
        await house.send_sms(PHONE)
        await house.ask_reset(phone=PHONE)
        for phone in (PHONE, "+79000000003"):
            with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES"):
                await house.send_sms(phone)
        await house.ask_reset(email=EMAIL)
        assert ["sms", "sms", "sms", "email"] == [secret.channel for _, secret in await house.letters()]


class TestWelcomes:
    """Welcomes by SMS cost money as well, of their own."""

    @pytest.fixture
    def overrides(self):
        return {"welcome_sms_in_all": "2/86400", "sms_in_all": "2/86400"}

    async def test_are_sent_by_email_or_not_at_all_when_it_is_used_up(self, house):
        """Who registers gets an account and a gift all the same; e-mails and those who are refused cost nothing."""
        await house.register()
        await house.register_by_phone("+79000000001", email="one@example.com")
        for _ in range(3):
            with refused(StatusCode.ALREADY_EXISTS):
                await house.register_by_phone("+79000000001")
        for phone, email in (("+79000000002", ""), ("+79000000003", "three@example.com"), ("+79000000004", "")):
            await house.register_by_phone(phone, email=email)
        assert [
            ("email", "", EMAIL),
            ("sms", "+79000000001", ""),
            ("sms", "+79000000002", ""),
            ("email", "", "three@example.com"),
        ] == [welcome[:3] for welcome in await welcomes(house)]
        assert 5 == len(await house.events(users.CONTACT_TOPIC))
        gifts = await house.db.pool.fetch("SELECT promo_id::text FROM users ORDER BY id")
        assert [gift["promo_id"] for gift in gifts[:4]] == [welcome[3] for welcome in await welcomes(house)]
        assert gifts[4]["promo_id"]
        # None of it was the money for codes.
        await house.send_sms("+79000000003")
        await house.send_sms("+79000000004")
        with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES"):
            await house.send_sms("+79000000004")
        await pass_by(house.db, 12 * 3600)  # one is free again: what was not sent was not counted
        await house.register_by_phone("+79000000005")
        assert ("sms", "+79000000005") == (await welcomes(house))[-1][:2]

    async def test_at_once_with_codes(self, house):
        """As many of each as there is money for; nobody waits for each other for ever."""
        await house.register()
        await house.db.pool.execute("UPDATE users SET phone = $1", PHONE)
        results = await asyncio.gather(
            *(house.register_by_phone(f"+7900000000{number}") for number in range(6)),
            *(house.send_sms() for _ in range(4)),
            return_exceptions=True,
        )
        assert [] == [result for result in results[:6] if isinstance(result, Exception)]
        sms = [welcome for welcome in await welcomes(house) if welcome[0] == "sms"]
        assert (2, 2) == (len(sms), len(await house.letters()))


async def welcomes(house):
    """What is told of those who registered: type, phone, e-mail and promo id, the oldest first."""
    told = [json.loads(payload) for _, payload in await house.events(users.REGISTRATION_TOPIC)]
    return [(it["type"], it["userPhone"], it["userEmail"], it["promoId"]) for it in told]


class TestOverload:
    """More passwords at once than can be hashed."""

    @pytest.fixture
    def overrides(self):
        return {"hash_queue": 3}

    async def test_what_does_not_fit_is_refused_at_once(self, house):
        """OVERLOADED with a time; nothing is counted against who was refused, and the queue empties."""
        await house.register()
        await house.db.pool.execute("TRUNCATE limits")
        results = await asyncio.gather(*(house.login() for _ in range(30)), return_exceptions=True)
        through = [result for result in results if isinstance(result, identity_pb2.Tokens)]
        assert 4 <= len(through) < 30
        for result in results:
            if not isinstance(result, identity_pb2.Tokens):
                with refused(StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED") as error:
                    raise result
                assert 2 == error.retry_after_s
        assert 0 == await house.db.pool.fetchval("SELECT count(*) FROM limits WHERE free_at > clock_timestamp()")
        await house.login()

    async def test_a_registration_that_does_not_fit_leaves_nothing(self, house):
        """Neither an account nor a count against its address."""
        addresses = [f"anna{number}@example.com" for number in range(30)]
        results = await asyncio.gather(*(house.register(email) for email in addresses), return_exceptions=True)
        through = sum(isinstance(result, identity_pb2.Tokens) for result in results)
        assert 4 <= through < 30
        assert through == await house.db.pool.fetchval("SELECT count(*) FROM users")
        # Two rates, of a minute and of a day; the latter gives back one every 17 s.
        used = await house.db.pool.fetchval(
            "SELECT max(extract(epoch FROM free_at - clock_timestamp()))::float8 FROM limits"
        )
        assert through == math.ceil(used / (24 * 3600 / 5000))


async def test_a_registration_cut_short_leaves_nothing_half(house):
    """Whenever the caller gives up: the account, its password, session and events are there together or not at all."""
    for timeout_ms in range(2, 82, 2):
        asked = identity_pb2.RegisterByPhoneRequest(
            first_name="Ann", phone=f"+790000010{timeout_ms:02}", password=PASSWORD
        )
        with contextlib.suppress(grpc.aio.AioRpcError):
            await house.stub.RegisterByPhone(asked, timeout=timeout_ms / 1000)
        (counts,) = await house.db.pool.fetch(
            """
            SELECT (SELECT count(*) FROM users) AS users,
                   (SELECT count(*) FROM credentials) AS credentials,
                   (SELECT count(*) FROM sessions) AS sessions,
                   (SELECT count(*) FROM outbox WHERE topic = $1) AS contacts,
                   (SELECT count(*) FROM outbox WHERE topic = $2) AS welcomes
            """,
            users.CONTACT_TOPIC,
            users.REGISTRATION_TOPIC,
        )
        assert 1 == len(set(counts.values())), counts
