"""The document against the shop: schemathesis calls each operation in every way that the document allows, and others.

`CHAOS=full` makes it long. What it learns of this shop stands in hooks.py.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from abacus.loms.v1 import loms_pb2
from deploy.native.parts import REPO
from deploy.native.stack import Shop
from tests.access.people import person
from tests.callers import calling, order
from tests.conftest import Figure
from tests.rest import hooks
from tests.sizes import IS_FULL

DOCUMENT = json.loads((REPO / "api" / "openapi.json").read_text())
OPERATIONS = {
    f"{verb.upper()} {path}": operation
    for path, verbs in DOCUMENT["paths"].items()
    for verb, operation in verbs.items()
}
CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 250 if IS_FULL else 3  # of each operation, beside its own examples and the edges of each field
TOKEN_AGE_S = 120  # of the 300 that it is good for

# Need not succeed: they ask for a secret that only a message or an earlier answer tells, or for a cart that purchases
# before them may have emptied. test_routes.py has them.
MAY_FAIL = {
    "DELETE /api/v1/cart/items/{sku}",
    "POST /api/v1/auth/login/email",
    "POST /api/v1/auth/login/phone",
    "POST /api/v1/auth/password/change",
    "POST /api/v1/auth/password/reset/confirm",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/verify/email/confirm",
    "POST /api/v1/auth/verify/phone/confirm",
}


@pytest.fixture(scope="module")
async def busy(seeded: Shop) -> Shop:
    """The shop with orders in it, some of them paid, so that what follows after payment can be called, too."""
    async with calling("loms", seeded.address("loms")) as loms:
        for user in range(1, 11):
            made = await loms.call("CreateOrder", order(user, (1001 + user, 1)))
            if user % 2:
                await loms.call("OrderPayed", loms_pb2.OrderPayedRequest(order_id=made.order_id))
    return seeded


@contextlib.asynccontextmanager
async def _fresh_token(shop: Shop, file: Path) -> AsyncIterator[None]:
    """Keep the token of an admin in a file; each time of another one, as calls may disable the one before."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(TOKEN_AGE_S)
            await write()

    async def write() -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text((await person(shop, "admin", admin=True)).token)
        fresh.replace(file)

    await write()
    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()


async def _called(shop: Shop, folder: Path, **environment: str) -> tuple[dict[str, Any], dict[str, Counter[str]]]:
    """Run schemathesis against the shop; return its report, and how often each operation gave each status."""
    report, statuses = folder / "report.json", folder / "statuses.json"
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"), f"--config-file={CONFIG}",
        "run", f"http://{shop.address('gateway')}/openapi.json",
        "--phases=examples,coverage,fuzzing", f"--max-examples={EXAMPLES}",
        "--seed=1", "--generation-database=none", "--no-shrink", "--continue-on-failure",
        "--no-color", f"--report-json-path={report}",
        cwd=REPO,
        env={
            **os.environ, "PYTHONPATH": str(REPO), "SCHEMATHESIS_HOOKS": hooks.__name__,
            hooks.STATUSES_FILE: str(statuses), **environment,
        },
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert 0 == process.returncode, said.decode()
    return json.loads(report.read_text()), {
        operation: Counter(counts) for operation, counts in json.loads(statuses.read_text()).items()
    }


def _is_whole(report: dict[str, Any], statuses: dict[str, Counter[str]]) -> None:
    assert (True, len(OPERATIONS)) == (report["complete"], report["operations"]["tested"])
    assert [] == report["errors"]
    assert set(OPERATIONS) == set(statuses)
    assert not {status for counts in statuses.values() for status in counts if status > "499"}
    # Guesses at one code are few, whatever the settings; nothing else may be too much here.
    limited = [operation for operation, counts in statuses.items() if "429" in counts]
    assert all("TOO_MANY_TRIES" in OPERATIONS[one]["responses"]["429"]["description"] for one in limited), limited


@pytest.mark.timeout(1_200 if IS_FULL else 180)
async def test_admin(busy: Shop, tmp_path: Path, figure: Figure) -> None:
    """Nothing that an admin sends is answered by 5xx or in another way than the document says.

    Each operation also does what it is there for, but for a few.
    """
    token = tmp_path / "token"
    async with _fresh_token(busy, token):
        report, statuses = await _called(busy, tmp_path, **{hooks.TOKEN_FILE: str(token)})
    _is_whole(report, statuses)
    never = {operation for operation, counts in statuses.items() if not any("200" <= one < "300" for one in counts)}
    assert never <= MAY_FAIL
    figure(f"{report['test_cases']['generated']} calls in {report['running_time']:.0f} s, 0 failures")


@pytest.mark.timeout(1_200 if IS_FULL else 180)
async def test_anonymous(busy: Shop, tmp_path: Path, figure: Figure) -> None:
    """The same for callers without a token, or with one of nobody; what is not public they never get."""
    report, statuses = await _called(busy, tmp_path)
    _is_whole(report, statuses)
    for operation, counts in statuses.items():
        if OPERATIONS[operation]["security"]:
            assert not {status for status in counts if status < "400"}, operation
    figure(f"{report['test_cases']['generated']} calls in {report['running_time']:.0f} s, 0 failures")
