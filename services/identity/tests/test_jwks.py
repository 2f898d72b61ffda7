"""The server of public keys, by wire."""

import asyncio
import errno
import json

import aiohttp
import pytest

from identity import jwks
from identity.tests.signing import keys_of


@pytest.fixture
async def keys(db, tmp_path):
    return await keys_of(db, tmp_path)


@pytest.fixture
async def url(keys):
    async with jwks.listening(keys, "127.0.0.1:0") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def got(http, url):
    async with http.get(url) as answer:
        return answer.status, dict(answer.headers), await answer.text()


async def test_public_keys_are_shown_and_nothing_else(db, keys, url, http):
    """A JWK set of public parts: of no key is there a member that a private one has."""
    await db.pool.execute("UPDATE signing_keys SET signs_from = signs_from - interval '30 days'")
    await keys.rotate_once()
    status, headers, text = await got(http, url + jwks.PATH)
    assert (200, "application/json") == (status, headers["Content-Type"].partition(";")[0])
    (new, old) = json.loads(text)["keys"]
    assert {"kty", "crv", "x", "y", "kid", "use", "alg"} == set(new) == set(old)
    assert '"d"' not in text
    assert 2 == len({new["kid"], old["kid"]})


async def test_caches_are_told_how_long(url, http):
    """Half of the time that a key is published before it signs."""
    _, headers, _ = await got(http, url + jwks.PATH)
    assert "public, max-age=60" == headers["Cache-Control"]


async def test_nothing_else_is_there(url, http):
    """Other paths and methods are refused, a body that is too large is not read to its end."""
    assert 200 == (await got(http, f"{url}/health"))[0]
    for path in ("/", "/.well-known/", "/.well-known/jwks.json/..%2f", "/metrics"):
        assert 404 == (await got(http, url + path))[0]
    for method in ("POST", "PUT", "DELETE"):
        async with http.request(method, url + jwks.PATH, data=b"x" * 100_000) as answer:
            assert 405 == answer.status


async def test_keys_are_shown_while_the_database_is_away(db, keys, url, http, monkeypatch):
    """Those that are known; the worker goes on, and ends when it is told to."""

    asked = asyncio.Queue()

    async def away():
        asked.put_nowait(None)
        raise ConnectionRefusedError

    before = await got(http, url + jwks.PATH)
    monkeypatch.setattr(db, "connect_alone", away)
    monkeypatch.setattr(keys, "look_every_s", 0.01)
    stop = asyncio.Event()
    worker = asyncio.create_task(keys.run(stop))
    async with asyncio.timeout(5):
        for _ in range(3):
            await asked.get()
            assert before[2] == (await got(http, url + jwks.PATH))[2]
    assert not worker.done()
    monkeypatch.undo()
    stop.set()
    await asyncio.wait_for(worker, 1)


async def test_connections_are_bounded(url, monkeypatch):
    """One too many is closed at once; when another is gone there is room again."""
    monkeypatch.setattr(jwks, "CONNECTIONS_MAX", 3)
    host, _, port = url.removeprefix("http://").partition(":")

    async def answered(reader, writer):
        try:
            writer.write(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    opened = []
    for _ in range(3):
        opened.append(await asyncio.open_connection(host, int(port)))
        assert await answered(*opened[-1])
    extra = await asyncio.open_connection(host, int(port))
    assert not await answered(*extra)
    for _, writer in (extra, opened[0]):
        writer.close()
    async with asyncio.timeout(5):
        while True:
            again = await asyncio.open_connection(host, int(port))
            if await answered(*again):
                break
            again[1].close()
    for _, writer in (again, *opened[1:]):
        writer.close()


async def test_it_ends_in_time_with_clients_that_do_not(keys):
    """Idle and half-sent connections are closed when the process is told to stop."""
    stop = asyncio.Event()
    ports = asyncio.Queue()
    listening = jwks.listening

    def noting(*arguments):
        context = listening(*arguments)

        class Noted:
            async def __aenter__(self):
                ports.put_nowait(await context.__aenter__())

            async def __aexit__(self, *error):
                return await context.__aexit__(*error)

        return Noted()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jwks, "listening", noting)
        worker = asyncio.create_task(jwks.run(keys, "127.0.0.1:0", stop))
        port = await ports.get()
    _, idle = await asyncio.open_connection("127.0.0.1", port)
    _, half = await asyncio.open_connection("127.0.0.1", port)
    half.write(b"GET /health HTT")
    await half.drain()
    stop.set()
    await asyncio.wait_for(worker, jwks.GRACE_S + 1)
    with pytest.raises(OSError):  # noqa: PT011  # refused, by whatever name
        await asyncio.open_connection("127.0.0.1", port)
    for writer in (idle, half):
        writer.close()


async def test_a_port_that_is_taken_is_told(keys, url):
    """One sentence and the end of the process."""
    taken = url.removeprefix("http://")
    with pytest.raises(OSError) as caught:  # noqa: PT011  # its number is looked at
        async with jwks.listening(keys, taken):
            pass
    assert errno.EADDRINUSE == caught.value.errno
    with pytest.raises(SystemExit, match="cannot listen"):
        await jwks.run(keys, taken, asyncio.Event())
