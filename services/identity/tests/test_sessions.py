"""Sessions and refresh tokens, on the real database."""

import asyncio
import hashlib
import os
import sys
from contextlib import suppress

import grpc
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from structlog.testing import capture_logs

from abacus.identity.v1 import identity_pb2, identity_pb2_grpc
from deploy.native import keys as deployed
from deploy.native.stack import free_ports
from identity import jwks
from identity.sessions import Sessions, prune
from identity.tests.signing import a_user, given, keys_of, sessions_of
from kit.errors import Error
from kit.tokens import Principal

CLIENT = {"address": "192.0.2.7", "user_agent": "browser"}


@pytest.fixture
async def sessions(db, tmp_path):
    return await sessions_of(db, tmp_path)


@pytest.fixture
async def user(db):
    return await a_user(db)


async def signed_in(sessions, user, roles=("customer",), **client):
    async with sessions.db.transaction() as conn:
        return await sessions.open(conn, user, roles, **{**CLIENT, **client})


async def refreshed(sessions, token):
    return await sessions.refresh(token)


async def refused(sessions, token):
    with pytest.raises(Error) as caught:
        await refreshed(sessions, token)
    assert "REFRESH_TOKEN_INVALID" == caught.value.reason
    return caught.value


async def is_open(sessions, tokens):
    async with sessions.db.transaction() as conn:
        with suppress(Error):
            await sessions.require_open(conn, Principal(f"user:{tokens.user_id}", tokens.user_id, tokens.session_id))
            return True
    return False


async def later(sessions, seconds):
    """Move all that was used, opened and is to expire into the past, as if so much time had gone by."""
    for table, columns in (("sessions", ("used_at", "expires_at")), ("refresh_tokens", ("used_at", "expires_at"))):
        moved = ", ".join(f"{column} = {column} - make_interval(secs => $1)" for column in columns)
        await sessions.db.pool.execute(f"UPDATE {table} SET {moved}", seconds)


async def test_who_signs_in_gets_both_tokens(sessions, user):
    """The access token names person, session and roles; the answer says how long each is good."""
    tokens = await signed_in(sessions, user, ["admin", "customer"])
    key_set = KeySet.import_key_set(sessions.keys.public())
    claims = jwt.decode(tokens.access_token, key_set, ["ES256"]).claims
    assert {"sub": str(user), "sid": tokens.session_id, "roles": ["admin", "customer"]} == {
        name: claims[name] for name in ("sub", "sid", "roles")
    }
    assert 300 == tokens.expires_in == claims["exp"] - claims["iat"]
    assert (30 * 86400, "Bearer", user) == (tokens.refresh_expires_in, tokens.token_type, tokens.user_id)
    assert tokens.refresh_token.startswith("rt_")
    assert len(tokens.refresh_token) == len("rt_") + 43, "256 bits"


async def test_a_refresh_token_is_stored_only_as_its_hash(sessions, user):
    """Nothing in the database is a token, used or not."""
    first = await signed_in(sessions, user)
    second = await refreshed(sessions, first.refresh_token)
    rows = await sessions.db.pool.fetch("SELECT * FROM refresh_tokens ORDER BY used_at")
    given_out = [first.refresh_token, second.refresh_token]
    assert [hashlib.sha256(token.encode()).digest() for token in given_out] == [row["hash"] for row in rows]
    everything = str([*rows, *await sessions.db.pool.fetch("SELECT * FROM sessions")])
    assert not any(token in everything for token in given_out)


async def test_a_refresh_gives_new_tokens_with_the_roles_of_now(sessions, user):
    """The session stays the same, what an administrator changed meanwhile counts."""
    first = await signed_in(sessions, user)
    await sessions.db.pool.execute("UPDATE users SET roles = '{admin}' WHERE id = $1", user)
    second = await refreshed(sessions, first.refresh_token)
    assert first.session_id == second.session_id
    assert first.refresh_token != second.refresh_token
    claims = jwt.decode(second.access_token, KeySet.import_key_set(sessions.keys.public()), ["ES256"]).claims
    assert ["admin"] == claims["roles"]


async def test_a_refresh_prolongs_the_session(sessions, user):
    """It ends when it was not used for refresh_token_s, not so long after it began."""
    tokens = await signed_in(sessions, user)
    for _ in range(3):
        await later(sessions, 29 * 86400)
        tokens = await refreshed(sessions, tokens.refresh_token)
    await later(sessions, 30 * 86400 + 1)
    assert not await is_open(sessions, tokens)
    await refused(sessions, tokens.refresh_token)


async def test_of_fifty_parallel_refreshes_one_wins_and_lives_on(db, tmp_path, user):
    """Two replicas, one token: one success, 49 refusals, and the winner's next refresh works."""
    replicas = [await sessions_of(db, tmp_path) for _ in range(2)]
    first = await signed_in(replicas[0], user)
    answers = await asyncio.gather(
        *(refreshed(replicas[number % 2], first.refresh_token) for number in range(50)), return_exceptions=True
    )
    (winner,) = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert ["REFRESH_TOKEN_INVALID"] * 49 == [answer.reason for answer in answers if isinstance(answer, Error)]
    assert await is_open(replicas[1], winner)
    await refreshed(replicas[1], winner.refresh_token)


async def test_a_used_token_that_comes_again_ends_the_session(sessions, user):
    """After the time of a race it is theft: thief and owner are out, other sessions of the person are not."""
    other = await signed_in(sessions, user)
    first = await signed_in(sessions, user)
    second = await refreshed(sessions, first.refresh_token)
    await later(sessions, 10.5)
    with capture_logs() as logs:
        await refused(sessions, first.refresh_token)
    assert [{"session": first.session_id, "user": user, "log_level": "warning"}] == [
        {name: value for name, value in line.items() if name != "event"} for line in logs
    ]
    assert not await is_open(sessions, second)
    await refused(sessions, second.refresh_token)
    assert await is_open(sessions, other)
    await refreshed(sessions, other.refresh_token)


async def test_a_token_used_weeks_ago_still_ends_its_session(sessions, user):
    """The owner comes back from holidays: the thief, who refreshed all the time, is out."""
    first = await signed_in(sessions, user)
    tokens = await refreshed(sessions, first.refresh_token)
    for _ in range(3):
        await later(sessions, 9 * 86400)
        await prune(sessions.db)
        tokens = await refreshed(sessions, tokens.refresh_token)
    await refused(sessions, first.refresh_token)
    assert not await is_open(sessions, tokens)


async def test_whoever_lost_a_race_changes_nothing(sessions, user):
    """Within ten seconds the used token is refused, however often, and the session lives."""
    first = await signed_in(sessions, user)
    second = await refreshed(sessions, first.refresh_token)
    await later(sessions, 9)
    for _ in range(3):
        await refused(sessions, first.refresh_token)
    await refreshed(sessions, second.refresh_token)


async def test_every_refusal_is_the_same(sessions, user):
    """Unknown, malformed, used, ended, expired, of a disabled account: nobody learns which."""
    told = [await refused(sessions, token) for token in ("rt_unknown", "", "\x00", "é" * 100)]
    used = (await signed_in(sessions, user)).refresh_token
    await refreshed(sessions, used)
    ended = (await signed_in(sessions, user)).refresh_token
    await sessions.end_by_token(ended)
    told += [await refused(sessions, used), await refused(sessions, ended)]
    disabled = (await signed_in(sessions, user)).refresh_token
    await sessions.db.pool.execute("UPDATE users SET disabled_at = clock_timestamp()")
    told += [await refused(sessions, disabled)]
    await sessions.db.pool.execute("UPDATE users SET disabled_at = NULL")
    await later(sessions, 31 * 86400)
    told += [await refused(sessions, disabled)]
    assert 8 == len(told)
    assert 1 == len({(error.code, error.message, str(error.fields), str(error.metadata)) for error in told})


async def test_a_disabled_persons_sessions_are_over_at_once(sessions, user):
    """Even where nobody ended them."""
    tokens = await signed_in(sessions, user)
    await sessions.db.pool.execute("UPDATE users SET disabled_at = clock_timestamp()")
    assert not await is_open(sessions, tokens)


async def test_an_end_that_meets_a_refresh_wins(sessions, user):
    """The refresh waits for the transaction that ends all sessions, and is refused."""
    tokens = await signed_in(sessions, user)
    async with sessions.db.transaction() as conn:
        assert 1 == await sessions.end_all(conn, user)
        refresh = asyncio.create_task(refreshed(sessions, tokens.refresh_token))
        while not await sessions.db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not refresh.done()
    with pytest.raises(Error) as caught:
        await refresh
    assert "REFRESH_TOKEN_INVALID" == caught.value.reason


async def test_logout_ends_the_session_by_any_of_its_tokens(sessions, user):
    """Also by a used one; a token that is none ends nothing and is no error; nobody else is signed out."""
    other, first = await signed_in(sessions, user), await signed_in(sessions, user)
    second = await refreshed(sessions, first.refresh_token)
    for token in ("rt_unknown", "", first.refresh_token, first.refresh_token):
        await sessions.end_by_token(token)
    assert [False, True] == [await is_open(sessions, tokens) for tokens in (second, other)]


@pytest.mark.parametrize("session", ["", "x", "00000000-0000-0000-0000-000000000000"])
async def test_a_session_that_is_none_is_not_open(sessions, user, session):
    """Whatever a token says."""
    with pytest.raises(Error) as caught:
        await sessions.require_open(sessions.db.pool, Principal(f"user:{user}", user, session))
    assert "SESSION_ENDED" == caught.value.reason


async def test_a_session_is_its_own_persons(sessions, user):
    """Nobody ends another's, or is let in by it."""
    stranger = await a_user(sessions.db, 2)
    tokens = await signed_in(sessions, user)
    async with sessions.db.transaction() as conn:
        assert not await sessions.end(conn, stranger, tokens.session_id)
        assert 0 == await sessions.end_all(conn, stranger)
        with pytest.raises(Error):
            await sessions.require_open(conn, Principal("user:2", stranger, tokens.session_id))
    assert await is_open(sessions, tokens)


async def test_sessions_are_listed_and_ended(sessions, user):
    """The last used first, with who asks marked; ended ones are gone from the list, the one that asks stays."""
    first, second, third = [await signed_in(sessions, user, user_agent=f"client {number}") for number in range(3)]
    await refreshed(sessions, first.refresh_token)
    async with sessions.db.transaction() as conn:
        listed = await sessions.of_user(conn, user, second.session_id)
        assert ["client 0", "client 2", "client 1"] == [session.user_agent for session in listed]
        assert [False, False, True] == [session.is_current for session in listed]
        assert {"192.0.2.7"} == {session.address for session in listed}
        used = listed[0]
        assert used.created_at.ToDatetime() < used.used_at.ToDatetime() < used.expires_at.ToDatetime()
        assert [True, False, False] == [
            await sessions.end(conn, user, session) for session in (third.session_id, third.session_id, "none")
        ]
        assert 1 == await sessions.end_all(conn, user, but=second.session_id)
        assert [second.session_id] == [
            session.session_id for session in await sessions.of_user(conn, user, second.session_id)
        ]
        assert 1 == await sessions.end_all(conn, user)


async def test_ending_all_from_two_sides_does_not_deadlock(sessions, user):
    """Twenty sessions, ended by eight at once: each is ended by one of them."""
    for _ in range(20):
        await signed_in(sessions, user)

    async def end():
        async with sessions.db.transaction() as conn:
            return await sessions.end_all(conn, user)

    assert 20 == sum(await asyncio.gather(*(end() for _ in range(8))))


async def test_what_has_expired_is_pruned(sessions, user):
    """Used tokens go when they would have expired, sessions with the last of theirs; what is good stays."""
    first = await signed_in(sessions, user)
    ended = await signed_in(sessions, user)
    await sessions.end_by_token(ended.refresh_token)
    await later(sessions, 20 * 86400)
    second = await refreshed(sessions, first.refresh_token)
    assert 0 == await prune(sessions.db)
    await later(sessions, 11 * 86400)
    assert 3 == await prune(sessions.db), "two tokens, one session"
    assert 0 == await prune(sessions.db)
    await refused(sessions, first.refresh_token)
    third = await refreshed(sessions, second.refresh_token)
    await later(sessions, 31 * 86400)
    assert 3 == await prune(sessions.db), "two tokens, one session"
    assert not await is_open(sessions, third)
    assert 0 == await sessions.db.pool.fetchval("SELECT count(*) FROM sessions")


async def test_a_token_that_cannot_be_signed_uses_nothing_up(db, tmp_path, sessions, user, monkeypatch):
    """The refresh fails as a whole, and its repeat works."""
    tokens = await signed_in(sessions, user)
    broken = Sessions(db, await keys_of(db, tmp_path), given(db, tmp_path))

    async def sign(*_):
        raise ConnectionRefusedError

    monkeypatch.setattr(broken.keys, "sign", sign)
    with pytest.raises(ConnectionRefusedError):
        await refreshed(broken, tokens.refresh_token)
    await refreshed(sessions, tokens.refresh_token)


async def started(db, ports, folder):
    """identity's process on this database; answers when this returns."""
    environment = {
        "IDENTITY_LISTEN": f"127.0.0.1:{ports['identity']}",
        "IDENTITY_JWKS_LISTEN": f"127.0.0.1:{ports['jwks']}",
        "IDENTITY_JWKS_URL": f"http://127.0.0.1:{ports['jwks']}{jwks.PATH}",
        "IDENTITY_DATABASE_URL": db.url,
        "IDENTITY_KAFKA": "127.0.0.1:1",  # away: the outbox waits
        "IDENTITY_VAULT_KEY_FILE": str(folder / "identity-vault.key"),
        "IDENTITY_SERVICE_KEYS_FILE": str(folder / "service-keys.json"),
        "IDENTITY_SEAL_KEY_FILE": str(folder / "notifications-seal.public.json"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "identity", env={**os.environ, **environment}, stdout=asyncio.subprocess.DEVNULL
    )
    async with grpc.aio.insecure_channel(environment["IDENTITY_LISTEN"]) as channel, asyncio.timeout(20):
        await channel.channel_ready()
    return process


async def test_kill_9_harms_no_session(db, tmp_path):
    """Twelve clients refresh while the process is killed: whoever got an answer goes on by it, in the same session.

    Whose answer got lost is refused and has to sign in; each session has one way on, and none is taken for stolen.
    """
    deployed.make(tmp_path)
    folder = deployed.folder(tmp_path)
    vault_key = (folder / "identity-vault.key").read_text()
    ports = free_ports(("identity", "jwks"))
    process = await started(db, ports, folder)
    sessions = Sessions(db, await keys_of(db, tmp_path, vault_key=vault_key), given(db, tmp_path))
    holding = [await signed_in(sessions, await a_user(db, number)) for number in range(12)]
    lost, answers, enough_for_all = set(), 0, False

    async def client(number, stub):
        nonlocal answers
        while number not in lost and not enough_for_all:
            try:
                asked = identity_pb2.RefreshRequest(refresh_token=holding[number].refresh_token)
                holding[number] = (await stub.Refresh(asked, wait_for_ready=True, timeout=20)).tokens
                answers += 1
            except grpc.aio.AioRpcError as error:
                if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                    lost.add(number)
                elif error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise

    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports['identity']}") as channel:
        stub = identity_pb2_grpc.IdentityServiceStub(channel)
        clients = [asyncio.create_task(client(number, stub)) for number in range(12)]
        for _ in range(3):
            enough = answers + 60
            async with asyncio.timeout(30):
                while answers < enough and len(lost) < 12:  # noqa: ASYNC110  # they come by wire
                    await asyncio.sleep(0.001)
            process.kill()
            await process.wait()
            process = await started(db, ports, folder)
        enough = answers + 30
        async with asyncio.timeout(30):
            while answers < enough and len(lost) < 12:  # noqa: ASYNC110  # they come by wire
                await asyncio.sleep(0.001)
        enough_for_all = True
        await asyncio.gather(*clients)
        process.terminate()
        assert 0 == await process.wait()

    assert answers >= 180
    assert len(lost) < 12, "a kill loses the answers of a few, not of all"
    assert 12 == await db.pool.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL")
    assert 12 == await db.pool.fetchval("SELECT count(*) FROM refresh_tokens WHERE used_at IS NULL")
    for number, tokens in enumerate(holding):
        if number not in lost:
            assert tokens.session_id == (await refreshed(sessions, tokens.refresh_token)).session_id
