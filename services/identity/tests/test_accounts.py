"""Making an account, signing in, the profile."""

import asyncio
import json
import re
import statistics
import time
import uuid

import argon2
import pytest
from grpc import StatusCode

from abacus.identity.v1 import identity_pb2
from identity import passwords
from identity.tests.conftest import EMAIL, OTHER_PASSWORD, PASSWORD, PHONE, person
from kit.testing import refused


async def update(house, tokens, **fields):
    return (await house.stub.UpdateMe(identity_pb2.UpdateMeRequest(**fields), metadata=person(tokens))).user


async def test_who_registers_is_signed_in(house):
    """The answer holds tokens that the profile opens with, and the profile what was given, normalised."""
    tokens = await house.register("Anna.L@EXAMPLE.com", phone="8 (900) 123-45-67", language="en")
    me = await house.me(tokens)
    assert ("Bearer", 300, 30 * 24 * 3600) == (tokens.token_type, tokens.expires_in, tokens.refresh_expires_in)
    assert (tokens.user_id, "Анна", "Лебедева") == (me.id, me.first_name, me.last_name)
    assert ("Anna.L@example.com", "+79001234567", "en") == (me.email, me.phone, me.language)
    assert (False, False, [identity_pb2.ROLE_CUSTOMER]) == (me.email_verified, me.phone_verified, list(me.roles))
    assert not me.HasField("disabled_at")


async def test_the_language_of_the_call_is_kept(house):
    """Where the request names none, accept-language decides."""
    asked = identity_pb2.RegisterByPhoneRequest(first_name="Ann", phone=PHONE, password=PASSWORD)
    answer = await house.stub.RegisterByPhone(asked, metadata=(("accept-language", "en-GB"),))
    assert "en" == (await house.me(answer.tokens)).language


async def test_registering_by_phone_tells_the_shop(house):
    """The welcome is the message of seed 000, letter by letter; the contact is there, first; the key is the id."""
    tokens = await house.register_by_phone(email=EMAIL)
    key = str(tokens.user_id)
    ((contact_key, contact),) = await house.events("abacus.identity.contact.v1")
    ((welcome_key, welcome),) = await house.events("abacus.identity.registration.v1")
    assert [key, key] == [contact_key, welcome_key]
    assert {
        "username": key,
        "firstName": "Анна",
        "lastName": "Лебедева",
        "email": EMAIL,
        "phone": PHONE,
        "userId": tokens.user_id,
        "language": "ru",
    } == json.loads(contact)
    promo_id = str(await house.db.pool.fetchval("SELECT promo_id FROM users"))
    assert 4 == uuid.UUID(promo_id).version
    assert f'{{"type":"sms","userPhone":"{PHONE}","userEmail":"","promoId":"{promo_id}"}}' == welcome


async def test_who_has_no_phone_is_welcomed_by_email(house):
    """Only the address of the type is filled."""
    await house.register()
    ((_, welcome),) = await house.events("abacus.identity.registration.v1")
    told = json.loads(welcome)
    assert ("email", "", EMAIL) == (told["type"], told["userPhone"], told["userEmail"])


@pytest.mark.parametrize(
    ("again", "field"),
    [
        ({"email": "ANNA@Example.com"}, "email"),
        ({"email": "ben@example.com", "phone": "8 900 123 45 67"}, "phone"),
        ({"email": EMAIL, "phone": PHONE}, "email"),
    ],
)
async def test_an_address_has_one_account(house, again, field):
    """USER_EXISTS names the field, whatever the spelling; the account stays as it was, and no event is made."""
    await house.register(phone=PHONE)
    with refused(StatusCode.ALREADY_EXISTS, "USER_EXISTS", field=field):
        await house.register(**again, password=OTHER_PASSWORD)
    assert 1 == len(await house.events("abacus.identity.contact.v1"))
    await house.login()


async def test_of_many_registrations_at_once_one_wins(house):
    """The others are refused by name; the pool of hashes does not refuse so few."""
    results = await asyncio.gather(*(house.register() for _ in range(12)), return_exceptions=True)
    assert 1 == sum(isinstance(result, identity_pb2.Tokens) for result in results)
    assert 1 == await house.db.pool.fetchval("SELECT count(*) FROM users")
    assert 1 == await house.db.pool.fetchval("SELECT count(*) FROM sessions")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"email": "anna"}, "email"),
        ({"email": "anna@localhost"}, "email"),
        ({"email": "анна@example.com"}, "email"),
        ({"email": '"a b"@example.com'}, "email"),
        ({"email": "a=?b@example.com"}, "email"),
        ({"email": "a@b\n.com"}, "email"),
        ({"phone": "12"}, "phone"),
        ({"phone": "+7 900 123-45-67 ext. 5"}, "phone"),
        ({"phone": "+15550001"}, "phone"),
        ({"phone": "call me"}, "phone"),
        ({"first_name": ""}, "first_name"),
        ({"first_name": "a\nb"}, "first_name"),
        ({"first_name": " \u3000"}, "first_name"),
        ({"last_name": "\u200b\u00ad"}, "last_name"),
        ({"language": "de"}, "language"),
        ({"password": "1234567"}, "password"),
        ({"password": "e\u0301" * 4 + "abc"}, "password"),
        ({"password": "a" * 129}, "password"),
    ],
)
async def test_bad_input_names_the_field(house, wrong, field):
    """INVALID_FIELD, and nothing is made; what was typed is not quoted."""
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field=field) as error:
        await house.register(**wrong)
    assert wrong[field] == "" or wrong[field] not in error.message
    assert 0 == await house.db.pool.fetchval("SELECT count(*) FROM users")


async def test_names_have_no_spaces_around(house):
    """When they are given and when they are changed."""
    tokens = await house.register(first_name=" Анна\u00a0", last_name="Лебедева ")
    me = await house.me(tokens)
    assert ("Анна", "Лебедева") == (me.first_name, me.last_name)
    me = await update(house, tokens, first_name="\u3000Ann Mary  ", last_name="")
    assert ("Ann Mary", "") == (me.first_name, me.last_name)


@pytest.mark.parametrize("field", ["first_name", "last_name"])
async def test_a_changed_name_is_looked_at_too(house, field):
    """As that of who registers."""
    tokens = await house.register()
    for bad in ("  ", "\u200d", "Anna\u2028", "\u202eanna", "http://shop.example"):
        with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field=field):
            await update(house, tokens, **{field: bad})


async def test_signing_in(house):
    """By each address, in any spelling; each time with a session of its own."""
    registered = await house.register(phone=PHONE)
    by_email, by_phone = await house.login("ANNA@EXAMPLE.COM"), await house.login_by_phone("8-900-123-45-67")
    assert [registered.user_id] * 2 == [by_email.user_id, by_phone.user_id]
    assert 3 == len({tokens.session_id for tokens in (registered, by_email, by_phone)})


async def test_a_password_is_the_same_from_every_keyboard(house):
    """Composed or not, wide or narrow: normalised before it is hashed."""
    await house.register(password="Пароль с й и é")
    await house.login(password="Пароль с и\u0306 и e\u0301")


async def test_a_failed_login_tells_nothing(house):
    """Unknown, wrong, without a password: one answer to the letter."""
    await house.register()
    await house.db.pool.execute(
        """
        INSERT INTO users (first_name, last_name, email, language, search)
        VALUES ('Ben', '', 'seeded@example.com', 'en', '')
        """
    )
    told = []
    for email in (EMAIL, "nobody@example.com", "seeded@example.com"):
        with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID") as error:
            await house.login(email, "not the password")
        told.append((error.message, error.fields, error.metadata, error.retry_after_s))
    assert 1 == len(set(map(str, told)))
    assert not re.search("nobody|anna|seeded", str(told))


async def test_a_failed_login_takes_as_long(house):
    """Medians of known and unknown, interleaved, are near each other: both compute a hash."""
    await house.register()
    took = {EMAIL: [], "nobody@example.com": [], "other@example.com": []}
    for _ in range(8):
        for email, times in took.items():
            started = time.perf_counter()
            with refused(StatusCode.UNAUTHENTICATED):
                await house.login(email, "not the password")
            times.append(time.perf_counter() - started)
    known, *unknown = (statistics.median(times) for times in took.values())
    assert all(abs(known - median) < 0.25 * known for median in unknown), took


async def test_who_is_shut_out_is_told_after_the_right_password_only(house):
    """ACCOUNT_DISABLED is for who knows the password; a guesser learns nothing."""
    await house.register()
    await house.db.pool.execute("UPDATE users SET disabled_at = clock_timestamp()")
    with refused(StatusCode.PERMISSION_DENIED, "ACCOUNT_DISABLED"):
        await house.login()
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"):
        await house.login(password="not the password")


async def test_old_hashes_are_renewed(house):
    """A hash of other parameters is good, and after a login it is of today's."""
    await house.register()
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    await house.db.pool.execute("UPDATE credentials SET password_hash = $1", weak)
    await house.login()
    renewed = await house.db.pool.fetchval("SELECT password_hash FROM credentials")
    assert f"$m={passwords.PARAMETERS.memory_cost},t={passwords.PARAMETERS.time_cost},p=1$" in renewed
    await house.login()


async def test_the_profile_is_changed_in_part(house):
    """What is not given stays; the shop is told the whole contact again."""
    tokens = await house.register()
    changed = await update(house, tokens, first_name="Аня", language="en")
    assert changed == await house.me(tokens)
    assert ("Аня", "Лебедева", "en") == (changed.first_name, changed.last_name, changed.language)
    assert "" == (await update(house, tokens, last_name="")).last_name
    contacts = [json.loads(payload) for _, payload in await house.events("abacus.identity.contact.v1")]
    assert ["Анна Лебедева ru", "Аня Лебедева en", "Аня  en"] == [
        f"{it['firstName']} {it['lastName']} {it['language']}" for it in contacts
    ]


async def test_the_profile_of_another_is_not_there(house):
    """`id` may be the caller's own and no other's."""
    tokens = await house.register()
    await update(house, tokens, id=tokens.user_id)
    for other in (tokens.user_id + 1, 0, -1):
        with refused(StatusCode.NOT_FOUND, "USER_NOT_FOUND"):
            await update(house, tokens, id=other, first_name="Ben")


async def test_sessions_are_listed_and_ended(house):
    """Newest first, one marked; one ends at once, others too, and those of others are not there."""
    first, second, third = await house.register(), await house.login(), await house.login()
    stranger = await house.register("ben@example.com")
    listed = (await house.stub.ListSessions(identity_pb2.ListSessionsRequest(), metadata=person(second))).sessions
    assert [third.session_id, second.session_id, first.session_id] == [it.session_id for it in listed]
    assert [False, True, False] == [it.is_current for it in listed]
    assert "127.0.0.1" == listed[0].address

    end = identity_pb2.EndSessionRequest
    await house.stub.EndSession(end(session_id=first.session_id), metadata=person(second))
    for gone in (first, stranger):
        with refused(StatusCode.NOT_FOUND, "SESSION_NOT_FOUND"):
            await house.stub.EndSession(end(session_id=gone.session_id), metadata=person(second))
    with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
        await house.me(first)
    others = identity_pb2.EndOtherSessionsRequest()
    assert 1 == (await house.stub.EndOtherSessions(others, metadata=person(second))).ended
    with refused(StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        await house.refresh(third)
    await house.me(second)
    await house.me(stranger)


async def test_after_logout_every_door_of_identity_is_shut(house):
    """Also for the access token, which other services take until it expires."""
    tokens = await house.register()
    asked = identity_pb2.LogoutRequest(refresh_token=tokens.refresh_token)
    await house.stub.Logout(asked)
    await house.stub.Logout(asked)
    await house.stub.Logout(identity_pb2.LogoutRequest(refresh_token="none"))
    for call in (
        house.me(tokens),
        update(house, tokens, first_name="Ben"),
        house.change(tokens),
        house.stub.ListSessions(identity_pb2.ListSessionsRequest(), metadata=person(tokens)),
        house.stub.EndSession(identity_pb2.EndSessionRequest(session_id=tokens.session_id), metadata=person(tokens)),
        house.stub.EndOtherSessions(identity_pb2.EndOtherSessionsRequest(), metadata=person(tokens)),
    ):
        with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
            await call
    with refused(StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        await house.refresh(tokens)


async def test_changing_the_password(house):
    """The new one opens, the old one does not; other sessions end, this one lives; tokens sent for a reset are void."""
    tokens, elsewhere = await house.register(), await house.login()
    await house.ask_reset(email=EMAIL)
    await house.change(tokens)
    await house.me(tokens)
    with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
        await house.me(elsewhere)
    with refused(StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID"):
        await house.login()
    await house.login(password=OTHER_PASSWORD)
    with refused(StatusCode.INVALID_ARGUMENT, "RESET_TOKEN_INVALID"):
        await house.reset(await house.code())


async def test_a_change_needs_the_current_password(house):
    """And a new one that is not the first to be guessed; the old one stays."""
    tokens = await house.register()
    with refused(StatusCode.INVALID_ARGUMENT, "PASSWORD_WRONG", field="current_password"):
        await house.change(tokens, current="not the password")
    for common in ("password1", "iloveyou", "лебедева", EMAIL):
        with refused(StatusCode.INVALID_ARGUMENT, "PASSWORD_TOO_COMMON", field="new_password"):
            await house.change(tokens, new=common)
    await house.login()


async def test_of_changes_at_once_one_wins(house):
    """Both prove the same password; the second finds it changed."""
    tokens = await house.register()
    news = [f"{OTHER_PASSWORD} {number}" for number in range(5)]
    results = await asyncio.gather(*(house.change(tokens, new=new) for new in news), return_exceptions=True)
    (won,) = [new for new, result in zip(news, results, strict=True) if not isinstance(result, Exception)]
    await house.login(password=won)
