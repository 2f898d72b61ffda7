"""Tokens for a new password."""

import asyncio
import json

import pytest
from grpc import StatusCode

from abacus.identity.v1 import identity_pb2
from identity import users
from identity.tests.conftest import EMAIL, OTHER_PASSWORD, PHONE, developer, person
from kit.testing import refused, until


@pytest.fixture
def overrides():
    return {"reset_url": "https://shop.example/reset?token="}


@pytest.mark.parametrize("target", [{"email": EMAIL}, {"phone": PHONE}])
async def test_a_token_sets_a_password(house, target):
    """Once; all sessions end, the way it came by is proved, and the message has a link."""
    tokens = await house.register(phone=PHONE)
    assert 600 == (await house.ask_reset(**target)).expires_in
    ((message, secret),) = await house.letters()
    assert ("reset_password", *target.values()) == (message.kind, secret.address)
    assert f"https://shop.example/reset?token={secret.code}" == secret.link
    await house.reset(secret.code)
    with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
        await house.me(tokens)
    with refused(StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        await house.refresh(tokens)
    login = house.login if "email" in target else house.login_by_phone
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"):
        await login()
    me = await house.me(await login(password=OTHER_PASSWORD))
    assert ("email" in target, "phone" in target) == (me.email_verified, me.phone_verified)
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID", field="reset_token"):
        await house.reset(secret.code)


@pytest.mark.parametrize(("kept", "lost"), [("email", "phone"), ("phone", "email")])
async def test_who_made_the_account_with_anothers_address_is_out(house, kept, lost):
    """By the owner's reset the maker's own address is off the account: a code to it or a token is nobody's then."""
    addresses = {"email": EMAIL, "phone": PHONE}
    tokens = await house.register(phone=PHONE)
    await house.send()
    await house.send_sms()
    await house.ask_reset(**{lost: addresses[lost]})
    before = await house.letters()
    await house.ask_reset(**{kept: addresses[kept]})
    await house.reset(await house.code())
    sign_in = {"email": house.login, "phone": house.login_by_phone}
    me = await house.me(await sign_in[kept](password=OTHER_PASSWORD))
    assert {kept: addresses[kept], lost: ""} == {"email": me.email, "phone": me.phone}
    assert {kept: True, lost: False} == {"email": me.email_verified, "phone": me.phone_verified}
    _, (key, told) = await house.events(users.CONTACT_TOPIC)
    assert str(tokens.user_id) == key
    assert {kept: addresses[kept], lost: ""} == {name: json.loads(told)[name] for name in ("email", "phone")}
    found = await house.stub.ListUsers(identity_pb2.ListUsersRequest(query=addresses[lost]), metadata=developer())
    assert [] == list(found.users)
    # What was sent before, and what is asked for now.
    (_, email_code), (_, phone_code), (_, lost_token) = before
    confirms = {
        "email": house.confirm(email_code.code),
        "phone": house.stub.ConfirmPhone(identity_pb2.ConfirmPhoneRequest(phone=PHONE, code=phone_code.code)),
    }
    with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
        await confirms[lost]
    await confirms[kept]  # its code is as good as ever
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
        await house.reset(lost_token.code)
    sent = len(await house.letters())
    await house.ask_reset(**{lost: addresses[lost]})
    await house.send_sms() if lost == "phone" else await house.send()
    assert sent == len(await house.letters())
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"):
        await sign_in[lost](password=OTHER_PASSWORD)


async def test_a_reset_by_a_proved_address_takes_nothing_off(house):
    """The e-mail proved, the password reset by it, then the phone proved: both are the person's."""
    tokens = await house.register(phone=PHONE)
    await house.send()
    await house.confirm(await house.code())
    await house.ask_reset(email=EMAIL)
    await house.reset(await house.code())
    await house.send_sms()
    await house.stub.ConfirmPhone(identity_pb2.ConfirmPhoneRequest(phone=PHONE, code=await house.code()))
    me = await house.me(await house.login_by_phone(password=OTHER_PASSWORD))
    assert (tokens.user_id, EMAIL, PHONE, True, True) == (
        me.id,
        me.email,
        me.phone,
        me.email_verified,
        me.phone_verified,
    )
    assert 1 == len(await house.events(users.CONTACT_TOPIC))


async def test_a_confirmation_that_waits_for_a_reset(house):
    """The maker's code was good when it was sent: after the owner's reset the address is nobody's."""
    tokens = await house.register(phone=PHONE)
    await house.send_sms()
    code = await house.code()
    await house.ask_reset(email=EMAIL)

    async def confirm_phone():
        await house.stub.ConfirmPhone(identity_pb2.ConfirmPhoneRequest(phone=PHONE, code=code))

    async with house.db.transaction() as conn:
        await users.lock(conn, tokens.user_id)
        reset = asyncio.create_task(house.reset(await house.code()))
        await until(house.waiting, 1)
        confirm = asyncio.create_task(confirm_phone())
        await until(house.waiting, 2)
    await reset
    with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
        await confirm
    assert "" == (await house.me(await house.login(password=OTHER_PASSWORD))).phone


async def test_once_an_address_is_proved_only_proved_ones_reset(house):
    """The other may be a stranger's: the answer is the same, and nothing is sent to it."""
    await house.register(phone=PHONE)
    await house.send()
    await house.confirm(await house.code())
    proved, unproved, nobodys = [
        await house.ask_reset(**target) for target in ({"email": EMAIL}, {"phone": PHONE}, {"phone": "+79000000009"})
    ]
    assert proved == unproved == nobodys
    assert [EMAIL, EMAIL] == [secret.address for _, secret in await house.letters()]
    await house.send_sms()
    code = await house.code()
    await house.stub.ConfirmPhone(identity_pb2.ConfirmPhoneRequest(phone=PHONE, code=code))
    await house.ask_reset(phone=PHONE)
    await house.reset(await house.code())


async def test_a_token_is_void_when_another_address_is_proved(house):
    """Also one that was sent before."""
    await house.register(phone=PHONE)
    await house.ask_reset(phone=PHONE)
    token = await house.code()
    await house.send()
    await house.confirm(await house.code())
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID", field="reset_token"):
        await house.reset(token)
    await house.login()


async def test_a_refused_password_leaves_the_token(house):
    """Too common, or the person's own name: the token is good for another try."""
    await house.register(first_name="Bartholomew")
    await house.ask_reset(email=EMAIL)
    token = await house.code()
    for common in ("password", "bartholomew", EMAIL):
        with refused(StatusCode.INVALID_ARGUMENT, "PASSWORD_TOO_COMMON", field="new_password"):
            await house.reset(token, common)
    await house.reset(f" {token[:40]}\r\n{token[40:]} ")  # as a mail program may break it


async def test_a_token_has_five_tries(house):
    """A wrong second half counts; then also the right one is refused. The first half alone is worth nothing."""
    await house.register()
    await house.ask_reset(email=EMAIL)
    token = await house.code()
    wrong = token[:-4] + ("aaaa" if token[-4:] != "aaaa" else "bbbb")
    for _ in range(5):
        with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
            await house.reset(wrong)
    with refused(StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_TRIES") as error:
        await house.reset(token)
    assert 600 == error.retry_after_s
    await house.login()


@pytest.mark.parametrize("token", ["x", ".", "0" * 32 + "." + "a" * 43, "é" * 76, "0" * 200])
async def test_what_is_no_token(house, token):
    """Is refused as a wrong one is."""
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID", field="reset_token"):
        await house.reset(token)


async def test_a_token_runs_out_of_time_and_is_replaced(house):
    """As codes are."""
    await house.register()
    await house.ask_reset(email=EMAIL)
    old = await house.code()
    await house.ask_reset(email=EMAIL)
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
        await house.reset(old)
    await house.age_codes()
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
        await house.reset(await house.code())


async def test_of_two_resets_at_once_one_wins(house):
    """Of one token, and of two of the same person: the second is refused."""
    await house.register(phone=PHONE)
    await house.ask_reset(email=EMAIL)
    await house.ask_reset(phone=PHONE)
    (_, first), (_, second) = await house.letters()
    tries = [
        (first.code, "a long password 1"),
        (first.code, "a long password 2"),
        (second.code, "a long password 3"),
    ]
    results = await asyncio.gather(*(house.reset(*one) for one in tries), return_exceptions=True)
    (won,) = [one for one, result in zip(tries, results, strict=True) if not isinstance(result, Exception)]
    login = house.login if won[0] == first.code else house.login_by_phone
    await login(password=won[1])


async def test_who_is_shut_out_stays_so(house):
    """A token sent before is worth nothing then."""
    await house.register()
    await house.ask_reset(email=EMAIL)
    await house.db.pool.execute("UPDATE users SET disabled_at = clock_timestamp()")
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
        await house.reset(await house.code())


async def test_one_target_is_to_be_given(house):
    """Neither none nor two."""
    for target in ({}, {"email": EMAIL, "phone": PHONE}):
        with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"):
            await house.ask_reset(**target)


async def test_a_login_that_a_reset_overtakes_opens_nothing(house):
    """The old password was right when it was read, and is not any more when the session would begin."""
    await house.register()
    await house.ask_reset(email=EMAIL)
    token = await house.code()
    results = await asyncio.gather(house.reset(token), *(house.login() for _ in range(6)), return_exceptions=True)
    assert not isinstance(results[0], Exception)
    # Each session that the old password opened was ended by the reset.
    for tokens in results[1:]:
        if not isinstance(tokens, Exception):
            with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
                await house.stub.GetMe(identity_pb2.GetMeRequest(), metadata=person(tokens))
