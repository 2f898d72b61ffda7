"""Whether an account exists is told to nobody, neither by words nor by time."""

import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import aiohttp
import grpc
import pytest
from google.protobuf.message import Message

from abacus.identity.v1 import identity_pb2
from deploy.native import stack
from tests.access.people import register
from tests.callers import calling
from tests.sizes import SIZES

SLACK = 0.05  # of the median
SLACK_S = 0.002
WARM_UP = 5

Target = tuple[str, str]  # an e-mail address and a phone
KNOWN: Target = ("ann.known@mail.example", "+15550000011")
UNKNOWN: Target = ("ann.nobody@mail.example", "+15550000022")
WRONG = "not the right one"
QUESTIONS: dict[str, Callable[[Target], Message]] = {
    "LoginByEmail": lambda of: identity_pb2.LoginByEmailRequest(email=of[0], password=WRONG),
    "LoginByPhone": lambda of: identity_pb2.LoginByPhoneRequest(phone=of[1], password=WRONG),
    "SendEmailCode": lambda of: identity_pb2.SendEmailCodeRequest(email=of[0]),
    "SendPhoneCode": lambda of: identity_pb2.SendPhoneCodeRequest(phone=of[1]),
    "RequestPasswordReset": lambda of: identity_pb2.RequestPasswordResetRequest(email=of[0]),
    "RequestPasswordReset by phone": lambda of: identity_pb2.RequestPasswordResetRequest(phone=of[1]),
}


@pytest.fixture(scope="session")
async def known(shop: stack.Shop) -> Target:
    """The addresses of an account."""
    await register(shop, email=KNOWN[0], phone=KNOWN[1])
    return KNOWN


@pytest.mark.parametrize("question", QUESTIONS)
async def test_time_tells_nothing(lenient: str, known: Target, question: str, figure: Callable[[str], None]) -> None:
    """Asked in turn of an account that exists and of one that does not: the same answer, in the same time."""
    async with calling("identity", lenient) as identity:

        async def ask(target: Target) -> tuple[float, str]:
            request = QUESTIONS[question](target)
            started = time.perf_counter()
            answer = await _heard(identity.call(question.partition(" ")[0], request))
            return time.perf_counter() - started, answer

        for target in (known, UNKNOWN) * WARM_UP:
            await ask(target)
        for _ in range(SIZES.lag_rounds):
            tries: dict[Target, list[tuple[float, str]]] = {known: [], UNKNOWN: []}
            for number in range(SIZES.guesses):
                for target in (known, UNKNOWN) if number % 2 else (UNKNOWN, known):
                    tries[target].append(await ask(target))
            assert 1 == len({answer for asked in tries.values() for _, answer in asked})
            of_known, of_unknown = (median(seconds for seconds, _ in tries[target]) for target in (known, UNKNOWN))
            figure(f"{of_known * 1000:.2f} ms known, {of_unknown * 1000:.2f} ms unknown")
            apart = abs(of_known - of_unknown)
            if apart <= (bound := max(SLACK * of_unknown, SLACK_S)):
                break
    assert apart <= bound


async def _heard(call: Awaitable[Any]) -> str:
    """The answer or the refusal, word for word."""
    try:
        return str(await call)
    except grpc.aio.AioRpcError as error:
        return f"{error.code()} {error.details()} {error.trailing_metadata()}"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("auth/login/email", {"password": "not the right one"}),
        ("auth/password/reset/request", {}),
        ("auth/verify/email/send", {}),
        ("auth/verify/email/confirm", {"code": "000000"}),
    ],
)
async def test_words_tell_nothing(shop: stack.Shop, known: Target, path: str, more: dict[str, str]) -> None:
    """Asked again and again, until it is too much: each answer about an account that exists is that about none."""
    async with aiohttp.ClientSession(f"http://{shop.address('gateway')}") as http:

        async def ask(email: str) -> tuple[int, str]:
            async with http.post(f"/api/v1/{path}", json={"email": email, **more}) as answer:
                return answer.status, await answer.text()

        for _ in range(12):
            assert await ask(known[0]) == await ask(UNKNOWN[0])
        assert 429 == (await ask(known[0]))[0]
