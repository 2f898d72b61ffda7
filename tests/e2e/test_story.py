"""What a customer sees, from the cart to the messages."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from abacus.catalog.v1 import catalog_pb2
from abacus.checkout.v1 import checkout_pb2
from abacus.loms.v1 import loms_pb2
from abacus.notifications.v1 import notifications_pb2
from deploy.native import stack
from kit.testing import until
from tests.audit import audit, mailbox
from tests.callers import Callers, calling, email_of, order, phone_of, publish_contacts, receipt, told
from tests.stacks import database

_numbers = itertools.count(600_000)  # users and skus; small ones are those of tests that send nonsense


@dataclass
class Counter:
    """The services, and what reached a customer."""

    shop: stack.Shop
    catalog: Callers
    checkout: Callers
    loms: Callers
    notifications: Callers

    async def goods(self, count: int, price: int) -> int:
        """Put a kettle on sale, count units in each of two warehouses; return its sku."""
        sku = next(_numbers)
        await self.catalog.call(
            "UpsertProduct",
            catalog_pb2.UpsertProductRequest(sku=sku, name_ru=f"Чайник {sku}", name_en=f"Kettle {sku}", price=price),
        )
        for warehouse_id in (1, 2):
            await self.loms.call("ReceiveStock", receipt(sku, count, warehouse_id=warehouse_id))
        return sku

    async def customer(self, language: str) -> int:
        """Make a customer with contacts; return the user."""
        user = next(_numbers)
        await publish_contacts(self.shop.kafka, [user], language=language)
        return user

    async def free(self, sku: int) -> int:
        """Units that can be bought."""
        answer = await self.loms.call("Stocks", loms_pb2.StocksRequest(sku=sku))
        return sum(shelf.count for shelf in answer.stocks)

    async def got(self, user: int) -> list[tuple[str, str]]:
        """(channel, subject and text) of each message that reached the user, the oldest first."""
        messages: list[dict[str, Any]] = sorted(await mailbox(self.shop.address("mailbox")), key=lambda one: one["id"])
        mine = [one for one in messages if one["to"] in (email_of(user), phone_of(user))]
        return [(one["channel"], f"{one['subject']}\n{one['text']}") for one in mine]


@pytest.fixture
async def counter(shop: stack.Shop) -> AsyncIterator[Counter]:
    async with (
        calling("catalog", shop.address("catalog")) as catalog,
        calling("checkout", shop.address("checkout")) as checkout,
        calling("loms", shop.address("loms")) as loms,
        calling("notifications", shop.address("notifications")) as notifications,
    ):
        yield Counter(shop, catalog, checkout, loms, notifications)


@pytest.mark.parametrize(
    ("language", "name", "total"), [("en", "Kettle {}", "RUB 2,998.00"), ("ru", "Чайник {}", "2 998,00 ₽")]
)
async def test_a_cart_is_bought_and_paid(counter, language, name, total):
    """Cart, order, held stock, payment; then e-mails and an SMS in the customer's language, with names and totals."""
    sku, user = await counter.goods(count=5, price=149_900), await counter.customer(language)
    await counter.checkout.call("AddToCart", checkout_pb2.AddToCartRequest(user=user, sku=sku, count=2))
    cart = await counter.checkout.call("ListCart", checkout_pb2.ListCartRequest(user=user, language=language))
    assert [(name.format(sku), 2, 149_900)] == [(item.name, item.count, item.price) for item in cart.items]
    assert 299_800 == cart.total_price

    bought = await counter.checkout.call("Purchase", checkout_pb2.PurchaseRequest(user=user, language=language))
    assert 299_800 == bought.total_price
    assert 8 == await counter.free(sku)
    left = await counter.checkout.call("ListCart", checkout_pb2.ListCartRequest(user=user))
    assert [] == list(left.items)
    await until(lambda: counter.got(user), 1, of=len)
    await counter.loms.call("OrderPayed", loms_pb2.OrderPayedRequest(order_id=bought.order_id))
    assert 8 == await counter.free(sku)
    await until(lambda: counter.got(user), 3, of=len)

    (_, ordered), *paid = await counter.got(user)
    assert {"email", "sms"} == {channel for channel, _ in paid}
    for text in (ordered, dict(paid)["email"]):
        assert str(bought.order_id) in text
        assert name.format(sku) in text
        assert total in text
    assert str(bought.order_id) in dict(paid)["sms"]
    listed = await counter.notifications.call("ListMessages", notifications_pb2.ListMessagesRequest(user=user))
    assert [notifications_pb2.MESSAGE_STATUS_SENT] * 3 == [message.status for message in listed.messages]


async def test_an_unpaid_order_is_cancelled(counter):
    """Its time passes: cancelled by loms, its stock free again, the customer told; a payment is refused then."""
    await counter.shop.start_replica("loms", name="hasty", args=["api"], env={"LOMS_PAYMENT_TIMEOUT_S": "0.5"})
    sku, user = await counter.goods(count=5, price=100), await counter.customer("en")
    async with calling("loms", counter.shop.address("hasty")) as hasty, database(counter.shop, "loms") as conn:
        made = await hasty.call("CreateOrder", order(user, (sku, 7)))
        assert 3 == await counter.free(sku)
        await until(lambda: counter.free(sku), 10)
        shown = await counter.loms.call("ListOrder", loms_pb2.ListOrderRequest(order_id=made.order_id))
        assert (loms_pb2.ORDER_STATUS_CANCELLED, "not paid in time") == (shown.status, shown.reason)
        payment = loms_pb2.OrderPayedRequest(order_id=made.order_id)
        assert ("ORDER_NOT_PAYABLE", None) == await told(counter.loms.call("OrderPayed", payment))
        await until(lambda: counter.got(user), 2, of=len)
        (_, ordered), (_, cancelled) = await counter.got(user)
        assert "not paid" in cancelled
        assert str(made.order_id) in ordered
        await audit(conn)
    await counter.shop["hasty"].stop()
