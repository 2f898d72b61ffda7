"""Whether an account exists is told to nobody, neither by words nor by time."""

import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import aiohttp
import grpc
import pytest

from abacus.identity.v1 import identity_pb2
from deploy.native import stack
from tests.access.people import register
from tests.callers import calling
from tests.sizes import SIZES

SLACK = 0.05  # of the median
SLACK_S = 0.002
WARM_UP = 5

KNOWN, UNKNOWN = "ann.known@mail.example", "ann.nobody@mail.example"
QUESTIONS = {
    "LoginByEmail": lambda email: identity_pb2.LoginByEmailRequest(email=email, password="not the right one"),
    "RequestPasswordReset": lambda email: identity_pb2.RequestPasswordResetRequest(email=email),
    "SendEmailCode": lambda email: identity_pb2.SendEmailCodeRequest(email=email),
}


@pytest.fixture(scope="session")
async def known(shop: stack.Shop) -> str:
    """The address of an account."""
    await register(shop, email=KNOWN)
    return KNOWN


@pytest.mark.parametrize("method", QUESTIONS)
async def test_time_tells_nothing(lenient: str, known: str, method: str, figure: Callable[[str], None]) -> None:
    """Asked in turn of an account that exists and of one that does not: the same answer, in the same time."""
    async with calling("identity", lenient) as identity:

        async def ask(email: str) -> tuple[float, str]:
            started = time.perf_counter()
            answer = await _heard(identity.call(method, QUESTIONS[method](email)))
            return time.perf_counter() - started, answer

        for email in (known, UNKNOWN) * WARM_UP:
            await ask(email)
        for _ in range(SIZES.lag_rounds):
            tries = [(await ask(known), await ask(UNKNOWN)) for _ in range(SIZES.guesses)]
            answers = {answer for pair in tries for _, answer in pair}
            assert 1 == len(answers), answers
            of_known, of_unknown = (median(pair[which][0] for pair in tries) for which in (0, 1))
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
async def test_words_tell_nothing(shop: stack.Shop, known: str, path: str, more: dict[str, str]) -> None:
    """Asked again and again, until it is too much: each answer about an account that exists is that about none."""
    async with aiohttp.ClientSession(f"http://{shop.address('gateway')}") as http:

        async def ask(email: str) -> tuple[int, str]:
            async with http.post(f"/api/v1/{path}", json={"email": email, **more}) as answer:
                return answer.status, await answer.text()

        for _ in range(12):
            assert await ask(known) == await ask(UNKNOWN)
        assert 429 == (await ask(known))[0]
