"""Whose a token is: what the verifier of every service takes, and all that it refuses."""

import base64
import hmac
import json
import time
from types import SimpleNamespace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from kit import tokens
from kit.errors import Error
from kit.tokens import ServiceKey, Verifier, service_keys

IDENTITY = ECKey.generate_key("P-256", auto_kid=True)
FOREIGN = ECKey.generate_key("P-256")
CHECKOUT = ServiceKey("checkout", ECKey.generate_key("P-256").as_pem(private=True).decode())
LOMS = ServiceKey("loms", ECKey.generate_key("P-256").as_pem(private=True).decode())
PUBLIC = {key.name: KeySet([key.public()]) for key in (CHECKOUT, LOMS)}
ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Persons:
    async def get(self, kid):
        return IDENTITY if kid == IDENTITY.kid else None


def verifier(name="loms"):
    return Verifier(name, Persons(), PUBLIC)


def without(claims, *names):
    return {name: value for name, value in claims.items() if name not in names}


def b64(part):
    raw = part if isinstance(part, bytes) else (part if isinstance(part, str) else json.dumps(part)).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header, claims, key=IDENTITY):
    """A token with a good signature over any header and claims, also those that no library would write."""
    message = f"{b64(header)}.{b64(claims)}"
    algorithm = tokens.jws.JWSRegistry.algorithms["ES256"]
    return f"{message}.{b64(algorithm.sign(message.encode(), key))}"


def header(**changes):
    return {"alg": "ES256", "typ": "at+jwt", "kid": IDENTITY.kid, **changes}


def claims(**changes):
    """Of the longest life that there is."""
    now = int(time.time())
    return {
        "iss": "abacus-identity", "aud": "abacus", "sub": "17", "sid": "s-1", "roles": ["customer"],
        "iat": now, "exp": now + 300, "jti": "j-1", **changes,
    }  # fmt: skip


def service_header(key=CHECKOUT, **changes):
    return {"alg": "ES256", "typ": "svc+jwt", "kid": key.public().kid, **changes}


def service_claims(**changes):
    now = int(time.time())
    return {"iss": "checkout", "sub": "checkout", "aud": "loms", "iat": now, "exp": now + 3600, **changes}


async def refusal(token, name="loms"):
    with pytest.raises(Error) as caught:
        await verifier(name).principal(token)
    return caught.value


async def test_a_persons_token_says_who_it_is():
    """Id, session and roles; the name is what histories show."""
    principal = await verifier().principal(signed(header(), claims(roles=["customer", "admin"])))
    assert tokens.Principal("user:17", 17, "s-1", frozenset({"customer", "admin"})) == principal
    assert not principal.is_service


async def test_a_services_token_says_which_it_is():
    """Made for this service by the peer's own key; `local` names several."""
    principal = await verifier().principal(CHECKOUT.token("loms"))
    assert ("checkout", None, True) == (principal.name, principal.user, principal.is_service)
    assert "checkout" == (await verifier("catalog").principal(CHECKOUT.sign(["loms", "catalog"], 60))).name


def test_nobody_is_no_service():
    """Whoever made the object that stands for no token."""
    assert not tokens.ANONYMOUS.is_service
    assert not tokens.Principal("anonymous").is_service


def as_hs256(secret):
    """Signed with what everybody knows of the key, as if it were a shared secret."""
    message = f"{b64(header(alg='HS256'))}.{b64(claims())}"
    return f"{message}.{b64(hmac.digest(secret, message.encode(), 'sha256'))}"


def as_jwe():
    key = ECKey.generate_key("P-256")
    return jwe.encrypt_compact({"alg": "ECDH-ES", "enc": "A256GCM", "kid": IDENTITY.kid}, b"{}", key)


def with_rs256():
    return jwt.encode({**header(), "alg": "RS256"}, claims(), RSAKey.generate_key(2048), ["RS256"])


def unsigned(**changes):
    return f"{b64(header(alg='none', **changes))}.{b64(claims())}."


def deep(depth, brackets="[]"):
    opening, closing = brackets
    return opening * depth + closing * depth


ODD_KIDS = [
    "../../../dev/null", "/etc/passwd", "http://192.0.2.1/jwks.json", "x' OR '1'='1", "a" * 300, "", "\x00", "é",
    "constructor", "__proto__", 5, 1e400, None, True, ["a"], {"a": 1}, [[IDENTITY.kid]],
]  # fmt: skip


def refused_tokens():
    """Made when they are asked for: what is wrong with them is what they say, and not that time went by."""
    now = time.time()
    return {
        "nothing": "",
        "no token": "hello",
        "dots": "..",
        "another alphabet": "é.é.é",
        "half a character": "\ud800.a.b",
        "alg none": unsigned(),
        "alg None": f"{b64(header(alg='None'))}.{b64(claims())}.",
        "alg none with a signature": signed(header(alg="none"), claims()),
        "no signature": signed(header(), claims()).rpartition(".")[0] + ".",
        "no third part": signed(header(), claims()).rpartition(".")[0],
        "a fourth part": signed(header(), claims()) + ".a",
        "HS256 with the public key as PEM": as_hs256(IDENTITY.as_pem(private=False)),
        "HS256 with the public key as DER": as_hs256(IDENTITY.as_der(private=False)),
        "HS256 with the public key as JWK": as_hs256(json.dumps(IDENTITY.as_dict(private=False)).encode()),
        "RS256": with_rs256(),
        "ES384 by name": signed(header(alg="ES384"), claims()),
        "alg of another type": signed(header(alg=["ES256"]), claims()),
        "no alg": signed(without(header(), "alg"), claims()),
        "a foreign key under a known kid": signed(header(), claims(), FOREIGN),
        "a foreign key that brings itself along": signed(header(jwk=FOREIGN.as_dict(private=False)), claims(), FOREIGN),
        "a foreign key under its own kid": signed(header(kid=FOREIGN.thumbprint()), claims(), FOREIGN),
        "an unknown header": signed(header(cmd="x"), claims()),
        "an unknown critical header": signed(header(crit=["exp"], exp=1), claims()),
        "a payload that is not encoded": signed(header(b64=False, crit=["b64"]), claims()),
        "a compressed payload": signed(header(zip="DEF"), claims()),
        "no typ": signed(without(header(), "typ"), claims()),
        "typ of any JWT": signed(header(typ="JWT"), claims()),
        "typ in capitals": signed(header(typ="AT+JWT"), claims()),
        "typ of another type": signed(header(typ=["at+jwt"]), claims()),
        "no kid": signed(without(header(), "kid"), claims()),
        **{f"kid {kid!r:.30}": signed(header(kid=kid), claims()) for kid in ODD_KIDS},
        "no iss": signed(header(), without(claims(), "iss")),
        "wrong iss": signed(header(), claims(iss="https://evil.example")),
        "iss as list": signed(header(), claims(iss=["abacus-identity"])),
        "no aud": signed(header(), without(claims(), "aud")),
        "wrong aud": signed(header(), claims(aud="shop")),
        "aud of a service": signed(header(), claims(aud="loms")),
        "aud of another type": signed(header(), claims(aud={"abacus": 1})),
        "no sub": signed(header(), without(claims(), "sub")),
        **{f"sub {sub!r:.20}": signed(header(), claims(sub=sub))
           for sub in ("", "0", "-5", "+17", " 17", "1_7", "１７", "017", "x", "9" * 20, "9" * 2000, 17, None, ["17"])},
        "no exp": signed(header(), without(claims(), "exp")),
        **{f"exp {exp!r:.20}": signed(header(), claims(exp=exp))
           for exp in (None, "9999999999", True, float("nan"), float("inf"), [], {})},
        "iat in the future": signed(header(), claims(iat=now + 3600)),
        "iat of another type": signed(header(), claims(iat="now")),
        "nbf in the future": signed(header(), claims(nbf=now + 3600)),
        "roles of another type": signed(header(), claims(roles=[["admin"]])),
        "claims that are a list": signed(header(), []),
        "claims that are no JSON": signed(header(), "{"),
        "claims in another encoding": signed(header(), b"\xff\xfe"),
        "a header that is a list": signed(["alg", "typ", "kid"], claims()),
        "a header that is a text": signed('"alg"', claims()),
        "a header that is a number": signed("5", claims()),
        "a header that is null": signed("null", claims()),
        "a header that is deep": signed('{"alg": ' + deep(180) + "}", claims()),
        "claims that are deep": signed(header(), '{"sub": ' + deep(1300) + "}"),
        "claims that are deeper": signed(header(), deep(1300)),
        "a header of ten kilobytes": signed(header(kid="a" * 10_000), claims()),
        "claims of ten kilobytes": signed(header(), claims(jti="a" * 10_000)),
        "ten kilobytes of nothing": "a" * 10_000,
        "five parts": as_jwe(),
        "five dots": "a.b.c.d.e",
        "a refresh token": "rt_" + "a" * 43,
        "a service's that is not for us": CHECKOUT.sign(["catalog"], 3600),
        "a service's for nobody": signed(service_header(), service_claims(aud=[]), CHECKOUT._key),
        "a service's for people's audience": CHECKOUT.sign(["abacus"], 3600),
        "a service's without aud": signed(service_header(), without(service_claims(), "aud"), CHECKOUT._key),
        "a service's with another's key": signed(service_header(LOMS), service_claims(), LOMS._key),
        "a service's with another's kid": signed(service_header(LOMS), service_claims(), CHECKOUT._key),
        "a service's with a foreign key": signed(service_header(), service_claims(), FOREIGN),
        "a service's for another's sub": signed(service_header(), service_claims(sub="loms"), CHECKOUT._key),
        "a service's that is unknown": signed(service_header(kid="billing"), service_claims(iss="billing"), FOREIGN),
        "a person's with the typ of services": signed(header(typ="svc+jwt"), claims()),
        "a service's with the typ of persons": signed(service_header(typ="at+jwt"), service_claims(), CHECKOUT._key),
        "a person's by a service": signed(service_header(typ="at+jwt"), claims(), CHECKOUT._key),
        "a person's by a service under identity's kid": signed(header(), claims(), CHECKOUT._key),
        "a service's by identity": signed(header(typ="svc+jwt"), service_claims()),
        "a service's by identity under the service's kid": signed(service_header(), service_claims()),
    }  # fmt: skip


@pytest.mark.parametrize("what", refused_tokens())
async def test_what_is_refused(what):
    """One and the same answer, whatever is wrong."""
    error = await refusal(refused_tokens()[what])
    assert ("TOKEN_INVALID", 16) == (error.reason, error.code)
    assert "the token is not good for this" == error.message


@pytest.mark.parametrize("ago_s", [1, 29, 31, 3600])
async def test_an_expired_token_is_told_so(ago_s):
    """To the second: what clocks may differ does not stretch it."""
    assert "TOKEN_EXPIRED" == (await refusal(signed(header(), claims(exp=time.time() - ago_s)))).reason
    late = signed(service_header(), service_claims(exp=time.time() - ago_s), CHECKOUT._key)
    assert "TOKEN_EXPIRED" == (await refusal(late)).reason


async def test_an_expired_token_of_a_stranger_is_only_invalid():
    """Nothing is said of claims that nobody has signed."""
    assert "TOKEN_INVALID" == (await refusal(signed(header(), claims(exp=1), FOREIGN))).reason


async def test_a_token_that_was_seen_expires_all_the_same(monkeypatch):
    """The verifier remembers that its signature was good, and asks for the time again."""
    checks, then = verifier(), time.time() + 20
    token = signed(header(), claims(exp=then))
    await checks.principal(token)
    monkeypatch.setattr(tokens.time, "time", lambda: then)
    with pytest.raises(Error) as caught:
        await checks.principal(token)
    assert "TOKEN_EXPIRED" == caught.value.reason


async def test_a_withdrawn_keys_tokens_are_soon_refused(monkeypatch):
    """A token that was seen is looked at again, and its key is gone."""
    keys = {IDENTITY.kid: IDENTITY}
    checks = Verifier("loms", SimpleNamespace(get=lambda kid: _soon(keys.get(kid))), PUBLIC)
    token = signed(header(), claims())
    await checks.principal(token)
    keys.clear()
    await checks.principal(token)
    later = time.time() + tokens.REMEMBERED_S
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    with pytest.raises(Error) as caught:
        await checks.principal(token)
    assert "TOKEN_INVALID" == caught.value.reason


async def test_only_so_many_tokens_are_remembered(monkeypatch):
    """The oldest is forgotten first, and checked again when it comes."""
    monkeypatch.setattr(tokens, "REMEMBERED", 2)
    checks = verifier()
    first, second, third = (signed(header(), claims(sub=str(user))) for user in (1, 2, 3))
    for token in (first, second, third, third):
        await checks.principal(token)
    assert [second, third] == list(checks._seen)
    assert 1 == (await checks.principal(first)).user


async def _soon(key):
    return key


async def test_nobody_is_signed_for_longer_than_is_usual():
    """A person five minutes, a service a day: also by a right key, which may have leaked."""
    now = time.time()
    await verifier().principal(signed(header(), claims(iat=now, exp=now + 300)))
    assert "TOKEN_INVALID" == (await refusal(signed(header(), claims(iat=now, exp=now + 301)))).reason
    assert "TOKEN_INVALID" == (await refusal(signed(header(), without(claims(), "iat")))).reason
    day_s = 24 * 3600
    await verifier().principal(CHECKOUT.sign(["loms"], day_s))
    assert "TOKEN_INVALID" == (await refusal(CHECKOUT.sign(["loms"], day_s + 2))).reason


async def test_clocks_may_differ():
    """A host that is half a minute ahead may sign, and not more."""
    await verifier().principal(signed(header(), claims(iat=time.time() + 25, nbf=time.time() + 25)))
    assert "TOKEN_INVALID" == (await refusal(signed(header(), claims(iat=time.time() + 35)))).reason


GOOD = signed(header(), claims())
SHARED = verifier()
CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \x00é"


async def outcome(token):
    """The principal, or the reason of the refusal; anything but an Error of ours fails the test."""
    try:
        return await SHARED.principal(token)
    except Error as error:
        return error.reason


@settings(max_examples=1500, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 3), st.text(CHARACTERS, max_size=3)),
        min_size=1,
        max_size=4,
    )
)
async def test_no_mutation_of_a_token_is_taken(mutations):
    """Characters replaced, removed and added anywhere: what is not the token itself is refused."""
    token = GOOD
    for at, removed, added in mutations:
        token = token[:at] + added + token[at + removed :]
    assume(token != GOOD)
    assert "TOKEN_INVALID" == await outcome(token)


@pytest.mark.parametrize("part", range(3))
async def test_no_bit_of_a_token_can_be_turned(part):
    """Each bit of header, claims and signature."""
    parts = GOOD.split(".")
    raw = base64.urlsafe_b64decode(parts[part] + "==")
    for bit in range(len(raw) * 8):
        turned = bytearray(raw)
        turned[bit // 8] ^= 1 << bit % 8
        assert "TOKEN_INVALID" == await outcome(".".join([*parts[:part], b64(bytes(turned)), *parts[part + 1 :]]))


async def test_a_signature_has_one_spelling_in_base64():
    """Its last character has four bits that mean nothing: set otherwise they are refused."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(GOOD[-1])
    assert 0 == last % 16
    for spare in range(1, 16):
        other = GOOD[:-1] + alphabet[last + spare]
        assert base64.urlsafe_b64decode(other[-86:] + "==") == base64.urlsafe_b64decode(GOOD[-86:] + "==")
        assert "TOKEN_INVALID" == await outcome(other)


async def test_a_signature_has_a_twin():
    """Of ECDSA (r, n - s) is as good as (r, s): anybody can write a token in two ways, and none that says else.

    So the text of a token is no name for it: whoever is to remember tokens remembers their `jti`.
    """
    message, _, signature = GOOD.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    twin = raw[:32] + (ORDER_OF_P256 - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    assert await outcome(GOOD) == await outcome(f"{message}.{b64(twin)}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


HEADERS = ["alg", "typ", "kid", "crit", "b64", "jwk", "x5c", "cty"]
CLAIMS = ["iss", "aud", "sub", "exp", "iat", "nbf", "roles", "sid", "jti"]


@settings(max_examples=800, deadline=None)
@given(
    st.dictionaries(st.sampled_from(HEADERS), JSON, max_size=3) | JSON,
    st.dictionaries(st.sampled_from(CLAIMS), JSON, max_size=3),
)
@example(["alg"], {})
async def test_whatever_a_good_signature_covers_is_taken_or_refused(odd_header, odd_claims):
    """Even identity's own key makes nothing of ours fail: a principal or a refusal, and nothing else."""
    of_header = header(**odd_header) if isinstance(odd_header, dict) else odd_header
    seen = await outcome(signed(of_header, claims(**odd_claims)))
    assert seen in ("TOKEN_INVALID", "TOKEN_EXPIRED") or 17 == seen.user or str(seen.user) == odd_claims["sub"]


class TestServiceKeys:
    """The file of public keys."""

    def test_a_file_is_read(self, tmp_path):
        """By name, public parts."""
        path = tmp_path / "service-keys.json"
        path.write_text(json.dumps({"checkout": {"keys": [CHECKOUT.public().as_dict()]}}))
        (key,) = service_keys(path)["checkout"].keys
        assert CHECKOUT.public().kid == key.kid
        assert "d" not in key.as_dict()

    @pytest.mark.parametrize(
        "text", ["", "[]", "null", "5", '{"checkout": 5}', '{"checkout": {"keys": 5}}', '{"checkout": {"keys": [{}]}}']
    )
    def test_another_file_is_refused(self, tmp_path, text):
        """By its name, at the start."""
        path = tmp_path / "service-keys.json"
        path.write_text(text)
        with pytest.raises(ValueError):  # noqa: PT011  # JSON's own is one too
            service_keys(path)

    def test_a_token_is_kept_for_half_of_its_life(self, monkeypatch):
        """One a callee, then a new one; each is good for a minute."""
        key = ServiceKey("checkout", CHECKOUT._key.as_pem(private=True).decode())
        first = key.token("loms")
        assert (first == key.token("loms"), first == key.token("catalog")) == (True, False)
        later = time.time() + 31
        monkeypatch.setattr(tokens.time, "time", lambda: later)
        assert first != key.token("loms")
