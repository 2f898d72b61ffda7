"""Two orders for a person to watch: one is bought and paid, one is not paid and gives its stock back.

`make demo` runs it against the shop that `make run-all` started. It may be run any number of times.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import tenacity
from aiokafka import AIOKafkaConsumer
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel

from abacus.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from abacus.checkout.v1 import checkout_pb2, checkout_pb2_grpc
from abacus.loms.v1 import events_pb2, loms_pb2, loms_pb2_grpc
from deploy import seed
from deploy.native import health, keys, stack
from deploy.native.errors import StackError
from deploy.native.home import read_state
from deploy.native.parts import REPO
from kit import client
from kit import json as event_json
from kit.errors import Error
from kit.tokens import ServiceKey

ORDER_TOPIC = "abacus.loms.order-status.v1"
PAYMENT_TIMEOUT_S = 3  # of the order that is not paid
LATE_S = 15.0  # by then it must be cancelled, its event published and its message sent
POLL_S = 0.2

T = TypeVar("T")
console = Console(highlight=False, soft_wrap=True)


class StepFailedError(Exception):
    """A step of the story did not go as it must; the text says how."""


def check(holds: bool, otherwise: str) -> None:
    """Fail the story with these words unless the condition holds."""
    if not holds:
        raise StepFailedError(otherwise)


async def until(what: str, look: Callable[[], Awaitable[T | None]], within_s: float = LATE_S) -> T:
    """Look again and again until something is seen; fail the story after within_s seconds."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(lambda seen: seen is None),
        wait=tenacity.wait_fixed(POLL_S),
        stop=tenacity.stop_after_delay(within_s),
    )
    try:
        seen: T | None = await retrying(look)
    except tenacity.RetryError:
        raise StepFailedError(f"{what} did not come within {within_s:g} s") from None
    assert seen is not None
    return seen


class Shop:
    """The running shop, as a customer and a person at its side see it."""

    def __init__(
        self, addresses: Callable[[str], str], key: ServiceKey, http: aiohttp.ClientSession, events: AIOKafkaConsumer
    ):
        self._channels = {name: client.connect(addresses(name), key) for name in ("loms", "checkout", "catalog")}
        self.loms = loms_pb2_grpc.LomsServiceStub(self._channels["loms"])
        self.checkout = checkout_pb2_grpc.CheckoutServiceStub(self._channels["checkout"])
        self.catalog = catalog_pb2_grpc.CatalogServiceStub(self._channels["catalog"])
        self._mailbox = f"http://{addresses('mailbox')}/api/messages"
        self._http = http
        self._events = events
        self._seen: dict[int, dict[int, events_pb2.OrderStatusChanged]] = {}  # order -> version -> event

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def available(self, sku: int) -> int:
        """Units of a sku that can be bought, in all warehouses."""
        answer = await self.loms.Stocks(loms_pb2.StocksRequest(sku=sku))
        return sum(shelf.count for shelf in answer.stocks)

    async def events(self, order_id: int, count: int) -> list[events_pb2.OrderStatusChanged]:
        """The first `count` events of an order, as they come from Kafka."""

        async def look() -> list[events_pb2.OrderStatusChanged] | None:
            for records in (await self._events.getmany(timeout_ms=100)).values():
                for record in records:
                    event = event_json.loads(events_pb2.OrderStatusChanged, record.value)
                    # The wire may repeat an event; the first one counts.
                    self._seen.setdefault(event.order_id, {}).setdefault(event.version, event)
            known = list(self._seen.get(order_id, {}).values())
            return known if len(known) >= count else None

        return await until(f"event {count} of order {order_id}", look)

    async def newest_message(self, *addresses: str) -> int:
        """Number of the newest message to any of these addresses; 0 where there is none."""
        return max((message["id"] for message in await self._messages(addresses)), default=0)

    async def messages(self, *addresses: str, order_id: int, count: int, after: int) -> list[dict[str, Any]]:
        """At least `count` messages about an order, numbered above `after`, the oldest first."""
        number = re.compile(rf"(?<!\d){order_id}(?!\d)")

        async def look() -> list[dict[str, Any]] | None:
            found = [
                message
                for message in await self._messages(addresses)
                if message["id"] > after and number.search(f"{message['subject']} {message['text']}")
            ]
            return sorted(found, key=lambda message: message["id"]) if len(found) >= count else None

        return await until(f"message {count} about order {order_id}", look)

    async def _messages(self, addresses: tuple[str, ...]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for address in addresses:
            async with self._http.get(self._mailbox, params={"to": address}) as answer:
                found += (await answer.json())["messages"]
        return found


async def call(stub: object, request: Message) -> Any:
    """Make the call that takes this request, and print it and its answer."""
    method = next(
        method
        for service in request.DESCRIPTOR.file.services_by_name.values()
        for method in service.methods
        if method.input_type is request.DESCRIPTOR
    )
    console.print(f"  [cyan]{method.containing_service.full_name}/{method.name}[/] {_line(request)}")
    answer = await getattr(stub, method.name)(request)
    console.print(f"    → {_line(answer)}")
    return answer


def _line(message: Message) -> str:
    return escape(json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False))


def _step(title: str) -> None:
    console.print(f"\n[bold]{escape(title)}[/]")


def _rubles(price: int) -> str:
    return f"{price // 100:,}.{price % 100:02} RUB"


def _show_events(events: list[events_pb2.OrderStatusChanged]) -> None:
    for event in events:
        console.print(f"  [green]{ORDER_TOPIC}[/] {escape(event_json.dumps(event))}")


def _show_messages(messages: list[dict[str, Any]]) -> None:
    for message in messages:
        title = f"{message['channel']} to {message['to']}"
        text = f"[bold]{escape(message['subject'])}[/]\n\n" if message.get("subject") else ""
        console.print(Panel(text + escape(message["text"].strip()), title=escape(title), title_align="left", width=100))


async def buy_and_pay(shop: Shop) -> None:
    """The first order: from the cart to the message that it is paid."""
    customer = seed.customers()[0]
    user = customer["user_id"]
    first, second = await _in_stock(shop, 2)
    console.rule(f"An order that is paid · {customer['first_name']} {customer['last_name']}, user {user}")

    await _empty_cart(shop, user)
    addresses = customer["email"], customer["phone"]
    newest = await shop.newest_message(*addresses)
    _step("What is there to buy, and where")
    before = await shop.available(first), await shop.available(second)
    await call(shop.catalog, catalog_pb2.GetProductRequest(sku=first))
    await call(shop.loms, loms_pb2.StocksRequest(sku=first))

    _step("Into the cart: two of it, and one of another product")
    await call(shop.checkout, checkout_pb2.AddToCartRequest(user=user, sku=first, count=2))
    await call(shop.checkout, checkout_pb2.AddToCartRequest(user=user, sku=second, count=1))
    cart = await call(shop.checkout, checkout_pb2.ListCartRequest(user=user))
    check({item.sku: item.count for item in cart.items} == {first: 2, second: 1}, "the cart holds something else")
    check(sum(item.price * item.count for item in cart.items) == cart.total_price, "the cart's total is not its sum")

    _step(f"Purchase: the cart becomes an order of {_rubles(cart.total_price)}")
    bought = await call(shop.checkout, checkout_pb2.PurchaseRequest(user=user, expected_total=cart.total_price))
    order_id = bought.order_id
    order = await call(shop.loms, loms_pb2.ListOrderRequest(order_id=order_id))
    check(order.status == loms_pb2.ORDER_STATUS_AWAITING_PAYMENT, "the order does not await its payment")

    _step("Its stock is held: nobody else can buy it")
    after = await shop.available(first), await shop.available(second)
    await call(shop.loms, loms_pb2.StocksRequest(sku=first))
    console.print(f"  sku {first}: {before[0]} → {after[0]}, sku {second}: {before[1]} → {after[1]}")
    check(
        after == (before[0] - 2, before[1] - 1),
        "what can be bought did not go down by what was ordered (unless somebody else buys at the same time)",
    )

    _step("Payment")
    await call(shop.loms, loms_pb2.OrderPayedRequest(order_id=order_id))
    order = await call(shop.loms, loms_pb2.ListOrderRequest(order_id=order_id))
    check(order.status == loms_pb2.ORDER_STATUS_PAID, "the order is not paid")

    _step("The order's events, read from Kafka")
    events = await shop.events(order_id, 2)
    _show_events(events)
    statuses = [loms_pb2.ORDER_STATUS_AWAITING_PAYMENT, loms_pb2.ORDER_STATUS_PAID]
    check([event.status for event in events] == statuses, "the events are not those of a paid order")

    _step("The customer's messages, from the mailbox")
    _show_messages(await shop.messages(*addresses, order_id=order_id, count=3, after=newest))


async def let_expire(shop: Shop, running: stack.Shop) -> None:
    """The second order: not paid, so cancelled, and its stock is back."""
    customer = seed.customers()[1]
    (sku,) = await _in_stock(shop, 1)
    console.print()
    console.rule(f"An order that is not paid · {customer['first_name']} {customer['last_name']}")

    _step(f"A second process of loms, whose orders must be paid within {PAYMENT_TIMEOUT_S} s")
    newest = await shop.newest_message(customer["email"])
    before = await shop.available(sku)
    request = loms_pb2.CreateOrderRequest(user=customer["user_id"], items=[_item(sku, count=3)])
    async with _impatient_loms(running) as loms:
        created = await call(loms, request)
    console.print("  it has done its part and is stopped")
    check(created.status == loms_pb2.ORDER_STATUS_AWAITING_PAYMENT, "the order does not await its payment")
    held = await shop.available(sku)
    console.print(f"  sku {sku}: {before} → {held} can be bought")
    check(held == before - 3, "the order's stock is not held (unless somebody else buys at the same time)")

    _step("Nobody pays")
    number = loms_pb2.ListOrderRequest(order_id=created.order_id)

    async def cancelled() -> loms_pb2.ListOrderResponse | None:
        seen = await shop.loms.ListOrder(number)
        return seen if seen.status == loms_pb2.ORDER_STATUS_CANCELLED else None

    with console.status("waiting until the order is cancelled"):
        await until("the cancellation", cancelled, PAYMENT_TIMEOUT_S + LATE_S)
    order = await call(shop.loms, number)
    late = order.updated_at.ToDatetime(UTC) - created.pay_by.ToDatetime(UTC)
    console.print(f"  cancelled {late.total_seconds():.3f} s after its time, by the database's clock")
    check(late.total_seconds() >= 0, "the order was cancelled before its time")

    _step("The stock is back")
    await call(shop.loms, loms_pb2.StocksRequest(sku=sku))
    back = await shop.available(sku)
    console.print(f"  sku {sku}: {held} → {back} can be bought")
    check(back == before, "the stock did not come back (unless somebody else buys at the same time)")

    _step("A payment comes too late")
    payment = loms_pb2.OrderPayedRequest(order_id=created.order_id)
    try:
        await call(shop.loms, payment)
    except Error as refusal:
        console.print(f"    → [yellow]{escape(str(refusal))}[/]")
        check(refusal.reason == "ORDER_NOT_PAYABLE", "it was refused for another reason")
    else:
        raise StepFailedError("a cancelled order took a payment")

    _step("The order's events, read from Kafka, and the customer's messages")
    events = await shop.events(created.order_id, 2)
    _show_events(events)
    statuses = [loms_pb2.ORDER_STATUS_AWAITING_PAYMENT, loms_pb2.ORDER_STATUS_CANCELLED]
    check([event.status for event in events] == statuses, "the events are not those of an order that was not paid")
    _show_messages(await shop.messages(customer["email"], order_id=created.order_id, count=2, after=newest))


def _item(sku: int, *, count: int) -> loms_pb2.OrderItem:
    """A position as checkout would send it, with the name and price of the seed data."""
    (item,) = (item for item in seed.products() if item["sku"] == sku)
    return loms_pb2.OrderItem(sku=sku, count=count, name=item["name_en"], price=item["price"])


async def _in_stock(shop: Shop, count: int) -> list[int]:
    """Skus that can be bought, of which there are at least five units."""
    # From the far end of the catalogue, away from the examples of the README: their orders may expire meanwhile.
    skus = [item["sku"] for item in reversed(seed.products())]
    found: list[int] = []
    for sku in skus:
        if await shop.available(sku) >= 5:
            found.append(sku)
        if len(found) == count:
            return found
    raise StepFailedError("everything is sold out; `make reset` fills the shop again")


async def _empty_cart(shop: Shop, user: int) -> None:
    cart = await shop.checkout.ListCart(checkout_pb2.ListCartRequest(user=user))
    if not cart.items:
        return
    _step("Something is in the cart from before: it is taken out")
    for item in cart.items:
        request = checkout_pb2.DeleteFromCartRequest(user=user, sku=item.sku, count=item.count)
        await call(shop.checkout, request)


@contextlib.asynccontextmanager
async def _impatient_loms(running: stack.Shop) -> AsyncIterator[loms_pb2_grpc.LomsServiceStub]:
    """One more process of loms, with a short time for payments, for as long as the block lasts."""
    # The door alone: it is the workers of the running shop who cancel its orders.
    process = await running.start_replica(
        "loms", name="loms-demo", args=["api"], env={"LOMS_PAYMENT_TIMEOUT_S": str(PAYMENT_TIMEOUT_S)}
    )
    try:
        address = running.address("loms-demo")
        console.print(f"  {address}, pid {process.pid}")
        async with client.connect(address, keys.service_key(running.home, keys.LOCAL)) as channel:
            yield loms_pb2_grpc.LomsServiceStub(channel)
    finally:
        await process.stop()


@contextlib.asynccontextmanager
async def _entered(running: stack.Shop) -> AsyncIterator[Shop]:
    """Ways into a running shop.

    Raises:
        StepFailedError: a part of it does not answer.
    """
    for name in ("loms", "checkout", "catalog", "notifications"):
        with _named(f"{name} at {running.address(name)}"):
            await health.grpc_serving(running.address(name))()
    with _named(f"the mailbox at {running.address('mailbox')}"):
        await health.http_ok(running.address("mailbox"))()
    events = AIOKafkaConsumer(ORDER_TOPIC, bootstrap_servers=running.kafka, auto_offset_reset="latest")
    try:
        with _named(f"Kafka at {running.kafka}"):
            await events.start()
            # Now, not at the first read: what is published from here on is seen.
            await asyncio.gather(*(events.position(partition) for partition in events.assignment()))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            key = keys.service_key(running.home, keys.LOCAL)
            shop = Shop(running.address, key, http, events)
            try:
                yield shop
            finally:
                await shop.close()
    finally:
        await events.stop()


@contextlib.contextmanager
def _named(who: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever a probe fails with, the shop is not whole
        raise StepFailedError(f"{who} does not answer; `make status` shows what is wrong") from error


async def tell(running: stack.Shop) -> None:
    """Tell both stories in a shop that runs.

    Raises:
        StepFailedError: a step did not go as it must.
        kit.errors.Error: a call was refused that must not be.
    """
    started = time.monotonic()
    async with _entered(running) as shop:
        await buy_and_pay(shop)
        await let_expire(shop, running)
    console.print()
    console.rule(f"[green]All of it went as it must, in {time.monotonic() - started:.1f} s[/]")


def main() -> None:
    """Run the demo; exit with 1 when a step fails."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is told in our own words
    try:
        home = Path(os.environ.get("ABACUS_HOME") or REPO / ".abacus").resolve()
        ports = read_state(home).ports
        asyncio.run(tell(stack.Shop(home, ports, {}, stack.service_settings(os.environ))))
    except StackError as failure:
        sys.exit(str(failure))
    except StepFailedError as failure:
        sys.exit(f"the demo failed: {failure}")
    except Error as refusal:
        sys.exit(f"the demo failed: a call was refused: {refusal}")
    except KeyboardInterrupt:
        sys.exit("stopped")


if __name__ == "__main__":
    main()
