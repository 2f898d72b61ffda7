"""Orders of a list that something cut off: finished by whoever comes next, once; and what was personal is gone then."""

import asyncio
import shutil
from dataclasses import replace
from functools import partial

import asyncpg
import pytest
import structlog
from grpc import StatusCode

from abacus.loms.v1 import loms_pb2
from checkout.orders import Decision
from checkout.purchases import Listed, Purchases, Wanted
from checkout.tests.conftest import ADDRESS, due, insist
from kit import db, migrate
from kit.errors import PEER_UNAVAILABLE, Error
from kit.settings import DatabaseSettings
from kit.testing import SERVICES, refused

MIGRATIONS = SERVICES / "checkout" / "migrations"
PERSONAL = {**ADDRESS, "phone": "+79990000001"}


def wanted(shop, sku, count=1, request_id=None):
    return Wanted(
        user=shop.user,
        caller="local",
        request_id=request_id,
        body_hash=b"",
        expected_total=None,
        language="ru",
        listed=Listed({sku: count}, PERSONAL),
    )


async def kept(shop) -> str:
    """All that checkout's tables hold, as text."""
    rows = await shop.db.pool.fetch(
        """
        SELECT purchases::text AS row FROM purchases
         UNION ALL
        SELECT requests::text FROM requests
        """
    )
    return "\n".join(row["row"] for row in rows)


async def test_the_worker_finishes_a_list_that_was_only_begun(shop):
    """Died before LOMS was asked: placed at the prices of then, to that address; a second round changes nothing."""
    sku = await shop.goods(5)
    await shop.buying.begin(wanted(shop, sku, 2))
    await shop.product(sku, price=999, is_active=False)
    await due(shop)
    assert [1, 0] == [await shop.buying.resume_once(), await shop.buying.resume_once()]
    (order,) = await shop.orders()
    assert (200, loms_pb2.ORDER_STATUS_NEW, ["done"]) == (order.total_price, order.status, await shop.states())
    shown = await shop.order(order.order_id)
    assert PERSONAL == {name: getattr(shown, name) for name in PERSONAL}


async def test_the_worker_finds_the_order_that_was_made(shop):
    """Died between LOMS's answer and its mark: the same order, not another one."""
    sku = await shop.goods(5)
    begun = await shop.buying.begin(wanted(shop, sku))
    decision = await shop.buying.order(begun)
    await due(shop)
    await shop.buying.resume_once()
    assert [decision.order_id] == [order.order_id for order in await shop.orders()]
    assert ["done"] == await shop.states()


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("step", ["begin", "order", "close"])
async def test_a_repeat_after_any_step_was_cut_gives_one_order(shop, monkeypatch, step, is_done):
    """Whether it died before the step had its effect or after: the repeat is answered, and so is the next one."""
    real = getattr(shop.buying, step)

    async def die(*args):
        monkeypatch.setattr(shop.buying, step, real)
        if is_done:
            await real(*args)
        raise RuntimeError("cut")

    monkeypatch.setattr(shop.buying, step, die)
    sku = await shop.goods(5)
    with refused(StatusCode.INTERNAL, "INTERNAL"):
        await shop.place((sku, 2), request_id="r-1")
    first = await shop.place((sku, 2), request_id="r-1")
    assert first == await shop.place((sku, 2), request_id="r-1")
    assert [(first.order_id, first.created_at)] == [(order.order_id, order.created_at) for order in await shop.orders()]
    assert ["done"] == await shop.states()


async def test_the_reply_of_loms_may_get_lost(open_shop, peers, instead):
    """LOMS made the order, its answer never came: the caller is told to try again, and gets that order."""
    lost = []

    async def place_order(request):
        answer = await peers.loms.PlaceOrder(request)
        if not lost:
            lost.append(answer.order_id)
            raise PEER_UNAVAILABLE("no answer")
        return answer

    shop = await open_shop(replace(peers, loms=instead(peers.loms, PlaceOrder=place_order)))
    sku = await shop.goods(5)
    with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
        await shop.place((sku, 1), request_id="r-2")
    assert lost == [(await shop.place((sku, 1), request_id="r-2")).order_id]
    assert 1 == len(await shop.orders())


async def test_with_loms_down_the_list_waits(shop, open_shop, peers, away):
    """UNAVAILABLE to the caller; another body is told so all the same; the same id gets its order when LOMS is back."""
    sku = await shop.goods(5)
    cut = await open_shop(replace(peers, loms=away.loms), like=shop)
    with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
        await cut.place((sku, 1), request_id="r-3")
    with refused(StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED"):
        await cut.place((sku, 2), request_id="r-3")
    assert ["placing"] == await shop.states()
    placed = await shop.place((sku, 1), request_id="r-3")
    assert [placed.order_id] == [order.order_id for order in await shop.orders()]


async def test_lists_and_carts_do_not_wait_for_each_other(shop, open_shop, peers, instead):
    """While LOMS places nothing, the cart is bought; while the cart cannot be, lists are, also a new one."""

    async def unanswered(request):
        raise PEER_UNAVAILABLE("no answer")

    without_lists = await open_shop(replace(peers, loms=instead(peers.loms, PlaceOrder=unanswered)), like=shop)
    without_carts = await open_shop(replace(peers, loms=instead(peers.loms, CreateOrder=unanswered)), like=shop)
    sku = await shop.goods(9)
    for number in range(3):
        with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
            await without_lists.place((sku, 1), request_id=f"r-4-{number}")
    await shop.add(sku, 4)
    bought = await without_lists.purchase()
    await shop.add(sku, 5)
    with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
        await without_carts.purchase(request_id="r-4")
    assert ["placing"] * 3 + ["done", "open"] == await shop.states()
    placed = [await without_carts.place((sku, 1), request_id=f"r-4-{number}") for number in range(4)]
    assert [bought.order_id, *(answer.order_id for answer in placed)] == [
        order.order_id for order in await shop.orders()
    ]
    assert 500 == (await shop.purchase(request_id="r-4")).total_price
    assert (["done"] * 6, {}) == (await shop.states(), await shop.cart())


async def test_a_list_closed_twice_is_as_the_first_closer_wrote(shop):
    """Even where the second one would have written something else."""
    begun = await shop.buying.begin(wanted(shop, await shop.goods(5)))
    decision = await shop.buying.order(begun)
    first = await shop.buying.close(begun, decision)
    assert first == await shop.buying.close(begun, Decision(refusal=PEER_UNAVAILABLE("none")))
    assert ("done", decision.order_id, decision.ordered_at) == (first.state, first.order_id, first.ordered_at)


async def test_a_list_overtaken_by_its_twin_gets_the_same_order(shop, monkeypatch):
    """The twin began while the product was still sold; that it is gone since is no answer to the same request."""
    sku = await shop.goods(5)
    begin = shop.buying.begin

    async def overtaken(asked):
        monkeypatch.setattr(shop.buying, "begin", begin)
        twin.append(await shop.place((sku, 1), request_id="r-5"))
        await shop.product(sku, is_active=False)
        return await begin(asked)

    twin = []
    monkeypatch.setattr(shop.buying, "begin", overtaken)
    assert await shop.place((sku, 1), request_id="r-5") == twin[0]
    assert 1 == len(await shop.orders())


@pytest.mark.parametrize("code", [StatusCode.OK, StatusCode.INVALID_ARGUMENT])
async def test_what_is_personal_is_gone_once_the_list_is_closed(shop, open_shop, peers, away, instead, code):
    """Kept while the order is asked for, of done and of refused ones not after; and never logged."""

    async def refuse(request):
        raise Error(code.value[0], "INVALID_FIELD", "street: too short", fields=[("street", "too short")])

    refusing = replace(peers, loms=instead(peers.loms, PlaceOrder=refuse))
    cut = await open_shop(replace(peers, loms=away.loms), like=shop)
    ending = await open_shop(peers if code is StatusCode.OK else refusing, like=shop)
    sku = await shop.goods(5)
    with structlog.testing.capture_logs() as logged:
        with refused(StatusCode.UNAVAILABLE, "PEER_UNAVAILABLE"):
            await cut.place((sku, 1), request_id="r-6", **PERSONAL)
        before = await kept(shop)
        assert [] == [value for value in PERSONAL.values() if value not in before]
        await due(shop)
        await cut.buying.resume_once()
        await due(shop)
        assert 1 == await ending.buying.resume_once()
    after = await kept(shop)
    assert ["done" if code is StatusCode.OK else "refused"] == await shop.states()
    assert [] == [value for value in PERSONAL.values() if value in after]
    assert {"purchase stays unfinished", "purchase resumed"} <= {line["event"] for line in logged}
    assert [] == [value for value in PERSONAL.values() if value in str(logged)]


async def test_what_is_personal_does_not_show_in_a_trace(shop):
    """What errors may print of a request, or of its purchase, has no address and no phone."""
    asked = wanted(shop, await shop.goods(5))
    begun = await shop.buying.begin(asked)
    assert PERSONAL == begun.form
    assert [] == [value for value in PERSONAL.values() if value in f"{asked!r} {begun!r}"]


@pytest.mark.parametrize(
    "nonsense",
    [
        "form = NULL",
        "state = 'open'",
        "method = 'Purchase'",
        "state = 'done', order_id = 1, finished_at = now(), form = NULL",
        "state = 'done', order_id = 1, finished_at = now(), ordered_at = now()",
        "state = 'done', finished_at = now(), ordered_at = now(), form = NULL",
        "state = 'refused', refusal = '', finished_at = now()",
        "order_id = 1",
        "finished_at = now()",
        "user_id = 0",
    ],
)
async def test_the_table_refuses_nonsense(shop, nonsense):
    """A list is placing and has its form, or is closed and has none; a done one has its order, and when it was made."""
    await shop.buying.begin(wanted(shop, await shop.goods(5)))
    with pytest.raises(asyncpg.CheckViolationError):
        await shop.db.pool.execute(f"UPDATE purchases SET {nonsense}")


async def test_purchases_of_before_lists_are_finished_and_known(native, shop, peers, tmp_path):
    """The migration leaves them as they were: an open one is finished, a done one answers its id again."""
    old = tmp_path / "migrations"
    old.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:2]:
        shutil.copy(path, old)
    url = native.admin_url.rpartition("/")[0] + "/checkout_before_lists"
    admin = await asyncpg.connect(native.admin_url)
    await admin.execute("CREATE DATABASE checkout_before_lists")
    try:
        await migrate.apply(url, old)
        sku = await shop.goods(5)
        await _fill_as_before(url, shop.user, sku)
        await migrate.apply(url, MIGRATIONS)
        async with db.connect(DatabaseSettings(database_url=url), MIGRATIONS, "test") as database:
            buying = Purchases(database, peers, resume_after_s=0.05)
            again = await buying.buy(replace(wanted(shop, sku, request_id="before"), listed=None))
            assert (7, 100) == (again.order_id, again.total_price)
            assert [1, 0] == [await buying.resume_once(), await buying.resume_once()]
            states = await database.pool.fetch("SELECT state FROM purchases ORDER BY created_at")
            assert [("done",), ("done",)] == [tuple(row) for row in states]
            assert 0 == await database.pool.fetchval("SELECT count(*) FROM cart_lines")
    finally:
        await admin.execute("DROP DATABASE checkout_before_lists WITH (FORCE)")
        await admin.close()
    assert [(loms_pb2.ORDER_STATUS_AWAITING_PAYMENT, 200)] == [
        (order.status, order.total_price) for order in await shop.orders()
    ]


async def _fill_as_before(url: str, user: int, sku: int) -> None:
    """Write a purchase that is done and one that is open, the columns of then named."""
    conn = await asyncpg.connect(url)
    await conn.execute("INSERT INTO carts (user_id) VALUES ($1)", user)
    await conn.execute("INSERT INTO cart_lines (user_id, sku, count) VALUES ($1, $2, 2)", user, sku)
    for state, request_id, count in (("done", "before", 1), ("open", None, 2)):
        await conn.execute(
            """
            INSERT INTO purchases
                   (user_id, caller, request_id, body_hash, lines, total_price, currency, state, order_id, finished_at,
                    try_at)
            VALUES ($1, 'local', $2, '', jsonb_build_array(jsonb_build_object(
                        'sku', $3::bigint, 'count', $4::integer, 'name', 'Чайник', 'price', 100)),
                    $4::integer * 100, 'RUB', $5, CASE WHEN $5 = 'done' THEN 7 END,
                    CASE WHEN $5 = 'done' THEN clock_timestamp() END, clock_timestamp())
            """,
            user,
            request_id,
            sku,
            count,
            state,
        )
    await conn.close()


async def test_kill_9_of_the_process_loses_and_doubles_nothing(mortal, shop):
    """One user places lists with ids while the process is killed between steps: each id has one order."""
    sku = await shop.goods(0)
    buyer = replace(shop, stub=mortal.stub, user=50_000_000)

    async def place(number):
        return await insist(lambda: buyer.place((sku, number), request_id=f"killed-{number}", **PERSONAL))

    numbers = range(1, 13)
    placed = await mortal.killed_while("placing", [partial(place, number) for number in numbers])
    assert placed == await asyncio.gather(*map(place, numbers))
    assert {(answer.order_id, answer.total_amount) for answer in placed} == {
        (order.order_id, order.total_price) for order in await buyer.orders()
    }
    assert [100 * number for number in numbers] == [answer.total_amount for answer in placed]
    assert 12 == len(await buyer.orders())
    assert 0 == await mortal.database.fetchval("SELECT count(*) FROM purchases WHERE form IS NOT NULL")
