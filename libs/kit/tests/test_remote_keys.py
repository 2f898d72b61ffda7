"""Identity's public keys by HTTP: asked for when they are met, kept while nobody answers."""

import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc.jwk import ECKey

from kit import tokens
from kit.errors import Error
from kit.tokens import RemoteKeys

IDENTITY = ECKey.generate_key("P-256", auto_kid=True)
OTHER = ECKey.generate_key("P-256", auto_kid=True)


class TestRemoteKeys:
    """Identity's keys by HTTP, from a server that does what the test says."""

    @pytest.fixture
    async def identity(self):
        """Answers with the keys of `self.answer`, counts the questions."""

        async def answer(request):
            self.asked += 1
            await asyncio.sleep(self.slow_s)
            if isinstance(self.answer, int):
                raise web.HTTPInternalServerError
            return web.Response(text=self.answer, content_type=self.content_type)

        self.asked, self.slow_s, self.content_type = 0, 0.0, "application/json"
        self.publish(IDENTITY)
        app = web.Application()
        app.router.add_get("/jwks", answer)
        server = TestServer(app)
        await server.start_server()
        yield server
        await server.close()

    def publish(self, *keys):
        self.answer = json.dumps({"keys": [key.as_dict(private=False) for key in keys]})

    @pytest.fixture
    async def keys(self, identity, monkeypatch):
        monkeypatch.setattr(tokens, "KEYS_ASKED_AGAIN_S", 0.2)
        monkeypatch.setattr(tokens, "KEYS_TRIED_AGAIN_S", 0.2)
        monkeypatch.setattr(tokens, "KEYS_TIMEOUT_S", 0.3)
        return RemoteKeys(str(identity.make_url("/jwks")))

    async def test_a_key_is_asked_for_when_it_is_first_met(self, keys):
        """Once, then it is known."""
        for _ in range(3):
            found = await keys.get(IDENTITY.kid)
            assert found is not None
            assert IDENTITY.thumbprint() == found.thumbprint()
        assert 1 == self.asked

    async def test_unknown_keys_do_not_make_a_storm(self, keys):
        """A hundred tokens with made-up keys are one question; a moment later a new key is found."""
        other = ECKey.generate_key("P-256", auto_kid=True)
        assert [None] * 100 == await asyncio.gather(*(keys.get(f"kid-{number}") for number in range(100)))
        assert 1 == self.asked
        self.publish(IDENTITY, other)
        assert await keys.get(other.kid) is None, "not asked again yet"
        await asyncio.sleep(0.25)
        assert await keys.get(other.kid) is not None
        assert 2 == self.asked

    async def test_who_waits_for_an_identity_that_hangs_waits_once(self, keys):
        """Fifty calls at once share one question, and are all told when it ends."""
        self.slow_s = 1.0
        answers = await asyncio.gather(*(keys.get(f"kid-{number}") for number in range(50)), return_exceptions=True)
        assert ["PEER_UNAVAILABLE"] * 50 == [error.reason for error in answers]
        assert 1 == self.asked

    @pytest.mark.parametrize(
        "answer", [500, "", "[]", "null", "{", "{}", '{"keys": null}', '{"keys": 5}', '{"keys": [5]}', '{"keys": [{}]}',
                   '{"keys": [{"kid": "a", "kty": "EC"}]}', '{"keys": [{"kid": "a", "kty": 5}]}'],
    )  # fmt: skip
    async def test_what_is_known_outlives_a_bad_answer(self, keys, answer):
        """The keys stay; a key that is not known cannot be judged meanwhile; then all is well again."""
        assert await keys.get(IDENTITY.kid) is not None
        good, self.answer = self.answer, answer
        await asyncio.sleep(0.25)
        with pytest.raises(Error) as caught:
            await keys.get("unknown")
        assert "PEER_UNAVAILABLE" == caught.value.reason
        assert await keys.get(IDENTITY.kid) is not None
        self.answer = good
        await asyncio.sleep(0.25)
        assert await keys.get("unknown") is None

    async def test_an_answer_that_is_no_json_is_a_bad_one(self, keys):
        """A page of a proxy, say."""
        self.content_type = "text/html"
        with pytest.raises(Error) as caught:
            await keys.get(IDENTITY.kid)
        assert "PEER_UNAVAILABLE" == caught.value.reason

    async def test_a_key_that_is_withdrawn_is_forgotten(self, keys, monkeypatch):
        """The worker asks now and then, ends when it is told to, and no bad answer ends it before."""
        monkeypatch.setattr(tokens, "KEYS_REFRESH_S", 0.02)
        monkeypatch.setattr(tokens, "KEYS_ASKED_AGAIN_S", 0.02)
        stop = asyncio.Event()
        worker = asyncio.create_task(keys.run(stop))

        async def asked_twice_more():
            before = self.asked
            async with asyncio.timeout(5):
                while self.asked < before + 2:  # noqa: ASYNC110  # they come by wire
                    await asyncio.sleep(0.01)

        await asked_twice_more()
        assert await keys.get(IDENTITY.kid) is not None
        for answer in ("[]", '{"keys": null}', 500):
            self.answer = answer
            await asked_twice_more()
        assert await keys.get(IDENTITY.kid) is not None
        self.publish(OTHER)
        await asked_twice_more()
        assert await keys.get(IDENTITY.kid) is None
        stop.set()
        await asyncio.wait_for(worker, 1)
