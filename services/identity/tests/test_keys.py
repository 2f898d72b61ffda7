"""Signing keys: their life, and that no token fails while they change."""

import asyncio
import json
import random
import time
from contextlib import AsyncExitStack

import aiohttp
import asyncpg
import pytest
from cryptography.fernet import Fernet
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet

from identity import jwks, keys
from identity.keys import VaultError
from identity.tests.signing import VAULT_KEY, given, keys_of
from kit import worker
from kit.tokens import RemoteKeys, Verifier

HOUR_S = 3600.0
LIFE_S = 30 * 24 * HOUR_S
LATE_MIN = 20


@pytest.fixture
async def one(db, tmp_path):
    """Keys of a process with the usual settings."""
    return await keys_of(db, tmp_path)


async def rows(db):
    return await db.pool.fetch("SELECT * FROM signing_keys ORDER BY signs_from")


async def later(db, seconds):
    """Move every key into the past, as if so much time had gone by."""
    await db.pool.execute(
        "UPDATE signing_keys SET made_at = made_at - make_interval(secs => $1),"
        " signs_from = signs_from - make_interval(secs => $1)",
        seconds,
    )


def kid_of(token):
    return jws.extract_compact(token.encode()).headers()["kid"]


def published(process):
    return [key["kid"] for key in process.public()["keys"]]


async def signed(process, user=17):
    return await process.sign(user, "s-1", ["customer"])


async def test_the_first_key_signs_at_once(db, one):
    """Somebody has to, and nobody can have kept older ones."""
    (row,) = await rows(db)
    assert row["made_at"] == row["signs_from"]
    token = await signed(one)
    assert row["kid"] == kid_of(token)
    (public,) = one.public()["keys"]
    assert ("EC", "P-256", "sig", "ES256") == tuple(public[name] for name in ("kty", "crv", "use", "alg"))
    assert ECKey.import_key(public).thumbprint() == row["kid"]


async def test_a_token_says_what_services_look_for(one):
    """Header and claims are those of RFC 9068; no two tokens are the same."""
    tokens = [await one.sign(17, "s-1", ["admin", "customer"]) for _ in range(2)]
    assert {"alg": "ES256", "typ": "at+jwt", "kid": published(one)[0]} == jws.extract_compact(
        tokens[0].encode()
    ).headers()
    key_set = KeySet.import_key_set(one.public())
    first, second = (jwt.decode(token, key_set, ["ES256"]).claims for token in tokens)
    assert {"iss", "aud", "sub", "sid", "roles", "iat", "exp", "jti"} == set(first)
    assert ("abacus-identity", "abacus", "17", "s-1", ["admin", "customer"]) == tuple(
        first[name] for name in ("iss", "aud", "sub", "sid", "roles")
    )
    assert 300 == first["exp"] - first["iat"]
    assert abs(time.time() - first["iat"]) < 5
    assert first["jti"] != second["jti"]


async def test_what_lies_in_the_database_is_no_private_key(db, one):
    """Sealed under the vault key; the table refuses a private part among the public ones."""
    (row,) = await rows(db)
    private = ECKey.import_key(Fernet(VAULT_KEY).decrypt(row["sealed_private"]))
    secret = private.as_dict(private=True)["d"]
    assert secret not in str(row)
    assert "PRIVATE" not in str(row)
    with pytest.raises(asyncpg.CheckViolationError):
        await db.pool.execute(
            "INSERT INTO signing_keys (kid, public_jwk, signs_from) VALUES ('a', $1::jsonb, clock_timestamp())",
            json.dumps({**private.as_dict(private=True), "kid": "a"}),
        )


async def test_the_life_of_a_key(db, one):
    """Published, then signing, then published without its private part, then gone: each in its time."""
    first = published(one)[0]
    await later(db, LIFE_S - 180)
    assert 0 == await one.rotate_once(), "not yet"
    await later(db, 90)  # 90 s before it ends
    assert 1 == await one.rotate_once()
    second = published(one)[0]
    assert [second, first] == published(one)
    assert first == kid_of(await signed(one)), "the next one is known, and does not sign"
    assert 0 == await one.rotate_once(), "one is enough"
    await later(db, 121)
    await one._read()
    assert second == kid_of(await signed(one))
    assert 0 == await one.rotate_once(), "a process may not know yet"
    await later(db, keys.COMMIT_S)
    assert 1 == await one.rotate_once()
    assert [True, False] == [row["sealed_private"] is None for row in await rows(db)]
    assert [second, first] == published(one)
    await later(db, 300)
    assert 0 == await one.rotate_once(), "a clock may be late"
    assert [second, first] == published(one)
    await later(db, 30)
    assert 1 == await one.rotate_once()
    assert [second] == published(one)
    assert second == kid_of(await signed(one))


async def test_a_key_signs_until_there_is_another(db, one):
    """Nothing rotated for a year: the old key goes on, and what it signed stays good while the next one takes over."""
    await later(db, 365 * 24 * HOUR_S)
    old = kid_of(await signed(one))
    assert 1 == await one.rotate_once()
    assert old == kid_of(await signed(one))
    await later(db, 121)
    await one._read()
    assert old != kid_of(await signed(one))
    assert old in published(one)


async def test_of_many_that_rotate_at_once_one_does(db, tmp_path):
    """Twenty workers of twenty processes, at the first start and when a key is due: one key each time."""
    settings = given(db, tmp_path)
    processes = [keys.Keys(db, VAULT_KEY, settings) for _ in range(20)]
    await asyncio.gather(*(process.start() for process in processes[:10]))
    assert 1 == len(await rows(db))
    await later(db, LIFE_S)
    assert 1 == sum(await asyncio.gather(*(process.rotate_once() for process in processes)))
    assert 2 == len(await rows(db))


async def test_who_has_not_read_for_long_reads_before_it_signs(db, tmp_path, one):
    """A process that slept through the life of a key does not sign with what it remembers."""
    slept = await keys_of(db, tmp_path)
    old = kid_of(await signed(slept))
    await later(db, LIFE_S)
    await one.rotate_once()
    await later(db, 200)
    await one.rotate_once()
    assert old == kid_of(await signed(slept)), "it cannot know"
    slept._known = keys._Known(slept._known.public, slept._known.signers, time.monotonic() - 121)
    tokens = await asyncio.gather(*(signed(slept) for _ in range(50)))
    assert {published(one)[0]} == {kid_of(token) for token in tokens}


async def test_signing_needs_no_connection_of_the_pool(db, tmp_path):
    """Every one of them is held by a call that waits for its signature: all get it."""
    process = await keys_of(db, tmp_path)
    process._known = keys._Known([], [], -1e9)

    async def call():
        async with db.transaction() as conn:
            await conn.execute("SELECT pg_sleep(0.05)")
            return await signed(process)

    assert 10 == db.pool.get_max_size()
    async with asyncio.timeout(5):
        assert 30 == len(await asyncio.gather(*(call() for _ in range(30))))


async def test_a_wrong_vault_key_is_told_at_the_start(db, tmp_path, one):
    """And nothing is made under it: with the right one all goes on as before."""
    await later(db, LIFE_S)
    with pytest.raises(VaultError, match="vault key does not open"):
        await keys_of(db, tmp_path, vault_key=Fernet.generate_key().decode())
    assert 1 == len(await rows(db))
    assert published(one) == published(await keys_of(db, tmp_path))[-1:]


@pytest.mark.parametrize("vault_key", ["", "short", "é" * 44, "a" * 43 + "!"])
def test_a_vault_key_that_is_none_is_told_too(db, tmp_path, vault_key):
    """Before anything else, and without the key."""
    with pytest.raises(VaultError) as caught:
        keys.Keys(db, vault_key, given(db, tmp_path))
    assert not vault_key or vault_key not in str(caught.value)


async def test_a_vault_key_that_is_lost_costs_no_session(db, tmp_path, one):
    """As the message says: without private parts a new key signs at once, and tokens that are out stay good."""
    token = await signed(one)
    await db.pool.execute("UPDATE signing_keys SET sealed_private = NULL")
    fresh = await keys_of(db, tmp_path, vault_key=Fernet.generate_key().decode())
    key_set = KeySet.import_key_set(fresh.public())
    assert "17" == jwt.decode(token, key_set, ["ES256"]).claims["sub"]
    assert kid_of(token) != kid_of(await signed(fresh))


async def test_what_is_sealed_is_the_key_that_is_published(db, tmp_path, one):
    """Private parts that were mixed up are told at the start, not by tokens that nobody takes."""
    await later(db, LIFE_S)
    await one.rotate_once()
    await db.pool.execute("UPDATE signing_keys SET sealed_private = (SELECT min(sealed_private) FROM signing_keys)")
    with pytest.raises(VaultError, match="another key"):
        await keys_of(db, tmp_path)


class Cached:
    """Identity's keys as the gateway has them: read now and then, and never because of a token."""

    def __init__(self, url, cache_s):
        self.url, self.cache_s, self.known = url, cache_s, {}

    async def run(self, stop):
        async with aiohttp.ClientSession() as http:
            while not stop.is_set():
                async with http.get(self.url) as answer:
                    self.known = {key["kid"]: ECKey.import_key(key) for key in (await answer.json())["keys"]}
                await worker.pause(self.cache_s, stop)

    async def get(self, kid):
        return self.known.get(kid)


async def test_no_token_fails_while_keys_rotate_under_load(db, tmp_path, monkeypatch):
    """Two replicas sign; four verifiers take every token from its first to its last moment, over five rotations."""
    monkeypatch.setattr(keys, "COMMIT_S", 1.0)
    monkeypatch.setattr(keys, "PUBLISHED_AFTER_S", 6.0)
    lives = {"key_life_s": 2.2, "key_ahead_s": 2.0, "access_token_s": 4}
    replicas = [await keys_of(db, tmp_path, **lives) for _ in range(2)]
    stop = asyncio.Event()
    kids, failures, late, late_taken, checks, withdrawn = [], [], [], 0, 0, set()

    async with AsyncExitStack() as opened:
        tasks = await opened.enter_async_context(asyncio.TaskGroup())
        caches = []
        for replica in replicas:
            port = await opened.enter_async_context(jwks.listening(replica, "127.0.0.1:0"))
            url = f"http://127.0.0.1:{port}{jwks.PATH}"
            caches += [RemoteKeys(url), Cached(url, cache_s=1.0)]
            tasks.create_task(replica.run(stop))
            tasks.create_task(
                worker.run_every("rotate", replica.rotate_once, interval_s=replica.look_every_s, stop=stop)
            )
        for cache in caches:
            tasks.create_task(cache.run(stop))

        async def check(token):
            nonlocal checks
            for cache in caches:
                checks += 1
                try:  # a verifier that has not seen the token before
                    await Verifier("loms", cache, {}).principal(token)
                except Exception as error:
                    if time.time() < expiry_of(token):  # a busy machine may come too late
                        failures.append((kid_of(token), repr(error)))
                    return False
            return True

        async def check_late(token):
            nonlocal late_taken
            await asyncio.sleep(expiry_of(token) - time.time() - 0.3)
            late_taken += await check(token)

        async def client():
            while not stop.is_set():
                token = await signed(random.choice(replicas))
                if kid_of(token) not in kids:
                    kids.append(kid_of(token))
                withdrawn.update(set(kids) - set(published(replicas[0])))
                await check(token)
                if random.random() < 0.2:
                    late.append(asyncio.create_task(check_late(token)))
                await asyncio.sleep(0.01)

        async with asyncio.timeout(5):
            while not all(cache.known for cache in caches if isinstance(cache, Cached)):  # noqa: ASYNC110  # by wire
                await asyncio.sleep(0.01)
        clients = [asyncio.create_task(client()) for _ in range(6)]
        async with asyncio.timeout(60):
            while (len(kids) < 6 or late_taken < LATE_MIN) and not failures:  # noqa: ASYNC110  # the clients fill it
                await asyncio.sleep(0.05)
        for one in clients:
            one.cancel()
        await asyncio.gather(*late)  # while keys go on to change
        stop.set()

    assert [] == failures[:5]
    assert len(kids) >= 6
    assert late_taken >= LATE_MIN, "tokens of the last moment"
    assert checks > 2000
    assert withdrawn, "old keys went while the load was on"


def expiry_of(token):
    return json.loads(jws.extract_compact(token.encode()).payload)["exp"]
