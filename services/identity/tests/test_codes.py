"""Codes that prove an address."""

import asyncio
import json
import re
import statistics
import time

import pytest
from grpc import StatusCode
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from abacus.identity.v1 import identity_pb2
from identity import codes
from identity.tests.conftest import EMAIL, PASSWORD, PHONE
from kit.testing import refused

WRONG = "not the code"


async def test_a_code_proves_an_address(house):
    """What is sent is six digits, for the person's own address and language; by them it is verified, once."""
    tokens = await house.register(language="en")
    assert 600 == (await house.send()).expires_in
    ((message, secret),) = await house.letters()
    assert re.fullmatch(r"\d{6}", secret.code)
    assert ("verify_email", tokens.user_id) == (message.kind, message.user_id)
    assert ("email", EMAIL, "", "Анна", "en") == (
        secret.channel,
        secret.address,
        secret.link,
        secret.first_name,
        secret.language,
    )
    await house.confirm(secret.code)
    me = await house.me(tokens)
    assert (True, False) == (me.email_verified, me.phone_verified)
    with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID", field="code"):
        await house.confirm(secret.code)


async def test_a_code_proves_a_phone(house):
    """By SMS, in any spelling of the number."""
    tokens = await house.register_by_phone()
    await house.send_sms(" 8 900 123-45-67\n")
    ((message, secret),) = await house.letters()
    assert ("verify_phone", "sms", PHONE) == (message.kind, secret.channel, secret.address)
    await house.stub.ConfirmPhone(
        identity_pb2.ConfirmPhoneRequest(phone=PHONE, code=f" {secret.code[:3]} {secret.code[3:]}\t")
    )
    me = await house.me(tokens)
    assert (False, True) == (me.email_verified, me.phone_verified)


async def test_only_notifications_can_read_what_is_sent(house):
    """The message holds neither code nor address in clear; no other key opens it, and no two are sealed alike."""
    await house.register()
    await house.send()
    await house.send()
    payloads = [payload for _, payload in await house.events(codes.SECRET_TOPIC)]
    (_, first), (_, second) = await house.letters()
    for payload in payloads:
        assert not re.search(f"{first.code}|{second.code}|{EMAIL}", payload)
        assert ["kind", "userId", "sealed", "expiresAt"] == list(json.loads(payload))
        assert 4 == json.loads(payload)["sealed"].count(".")
        with pytest.raises(JoseError):
            jwe.decrypt_compact(json.loads(payload)["sealed"], ECKey.generate_key("P-256"))
    assert payloads[0] != payloads[1]


async def test_nothing_that_opens_is_stored(house):
    """A look into every table finds no code, token, password or, but for the person's row, address."""
    await house.register(phone=PHONE)
    await house.send()
    await house.ask_reset(phone=PHONE)
    await house.send("nobody@example.com")
    (_, code), (_, reset) = await house.letters()
    dump = ""
    for table in ("codes", "limits", "credentials", "sessions", "refresh_tokens", "signing_keys"):
        dump += str(await house.db.pool.fetch(f'SELECT t::text FROM "{table}" AS t'))
    secret = reset.code.partition(".")[2]
    assert not re.search(rf"\b{code.code}\b|{secret}|{PASSWORD}|anna@|nobody|9001234567", dump)


async def test_a_new_code_takes_the_place_of_the_old(house):
    """Only the last one is good, and its tries begin anew."""
    await house.register()
    await house.send()
    old = await house.code()
    for _ in range(5):
        with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
            await house.confirm(WRONG)
    await house.send()
    if old != await house.code():
        with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
            await house.confirm(old)
    await house.confirm(await house.code())


async def test_a_code_runs_out_of_time(house):
    """Ten minutes by the database's clock."""
    await house.register()
    await house.send()
    life_s = await house.db.pool.fetchval("SELECT extract(epoch FROM expires_at - clock_timestamp()) FROM codes")
    assert 598 < life_s <= 600
    await house.age_codes()
    with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
        await house.confirm(await house.code())


async def test_a_code_is_for_its_address_and_purpose(house):
    """Somebody else's code, and one for another purpose, prove nothing."""
    await house.register(phone=PHONE)
    await house.register("ben@example.com")
    await house.send()
    code = await house.code()
    await house.send("ben@example.com")
    await house.send_sms()
    if code not in [secret.code for _, secret in (await house.letters())[1:]]:
        with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
            await house.confirm(code, "ben@example.com")
        with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
            await house.stub.ConfirmPhone(identity_pb2.ConfirmPhoneRequest(phone=PHONE, code=code))
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
        await house.reset(code)


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
async def test_the_sixth_guess_is_refused(house, open_house, email):
    """Also the right one, also at another process, also where nobody has the address."""
    await house.register()
    await house.send(email)
    for _ in range(5):
        with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID", field="code"):
            await house.confirm(WRONG, email)
    code = await house.code() if email == EMAIL else WRONG
    for process in (house, await open_house()):
        with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES") as error:
            await process.confirm(code, email)
        assert 600 == error.retry_after_s


async def test_of_many_right_guesses_one_succeeds(house):
    """Fifty at once: the code is used once, the others are told that it is no good."""
    tokens = await house.register()
    await house.send()
    code = await house.code()

    async def guess():
        await house.confirm(code)

    results = await asyncio.gather(*(guess() for _ in range(50)), return_exceptions=True)
    assert 1 == results.count(None)
    for result in results:
        if result is not None:
            with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
                raise result
    assert (await house.me(tokens)).email_verified


async def test_of_many_wrong_guesses_five_are_looked_at(house):
    """However many come at once."""
    await house.register()
    await house.send()
    results = await asyncio.gather(*(house.confirm(WRONG) for _ in range(30)), return_exceptions=True)
    told = [result.code() for result in results]
    assert (5, 25) == (told.count(StatusCode.INVALID_ARGUMENT), told.count(StatusCode.RESOURCE_EXHAUSTED))


async def test_nobody_learns_who_has_an_account(house):
    """Send, confirm and reset say the same where nobody has the address or who has it is shut out; nothing is sent."""
    await house.register(phone=PHONE)
    await house.register("gone@example.com")
    await house.db.pool.execute("UPDATE users SET disabled_at = clock_timestamp() WHERE email LIKE 'gone%'")
    sent, confirmed, asked = set(), set(), set()
    for email in (EMAIL, "nobody@example.com", "gone@example.com"):
        sent.add(str(await house.send(email)))
        with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID") as error:
            await house.confirm(WRONG, email)
        confirmed.add(str(vars(error)))
        asked.add(str(await house.ask_reset(email=email)))
    assert [1, 1, 1] == [len(sent), len(confirmed), len(asked)]
    assert {EMAIL} == {secret.address for _, secret in await house.letters()}


async def test_a_code_takes_as_long_for_nobody(house):
    """Medians of known and unknown, interleaved, are near each other: the same statements run."""
    await house.register()
    took = {EMAIL: [], "nobody@example.com": []}
    for _ in range(25):
        for email, times in took.items():
            await house.db.pool.execute("TRUNCATE limits")
            started = time.perf_counter()
            await house.send(email)
            times.append(time.perf_counter() - started)
    known, unknown = (statistics.median(times) for times in took.values())
    assert abs(known - unknown) < max(0.003, 0.3 * known), took


async def test_a_proven_address_is_sent_no_code(house):
    """The answer is the same; an SMS would cost money for nothing."""
    await house.register()
    await house.send()
    await house.confirm(await house.code())
    assert 600 == (await house.send()).expires_in
    assert 1 == len(await house.letters())
    with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
        await house.confirm(WRONG)


async def test_old_codes_are_forgotten(house):
    """Pruning takes those whose time is over."""
    await house.register()
    await house.send("nobody@example.com")
    await house.age_codes()
    await house.send()
    assert 1 == await codes.prune(house.db)
    await house.confirm(await house.code())
