"""What callers ask: requests of loms as bytes, over skus that are alike, by Zipf's law, or one.

Requests are put together by hand from pieces that are encoded once: an order costs 2 µs instead of 10. A test compares
them with what the generated classes write.
"""

import itertools
import os
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SERVICE = "/abacus.loms.v1.LomsService/"
METHODS = ("CreateOrder", "OrderPayed", "CancelOrder", "Stocks", "ListOrder")
PATHS = [SERVICE + name for name in METHODS]
CREATE, PAY, CANCEL, STOCKS, LIST = range(len(METHODS))
BASKETS = 30_000  # lines of different ones; then they come again
USERS = 1_000_000
# Of a hundred calls; what is left over is ListOrder.
MIX = ((45, CREATE), (88, PAY), (92, CANCEL), (96, STOCKS), (100, LIST))
MIX_STARTS_WITH = 64  # orders before the first is paid, so that payments do not run ahead of orders


@dataclass(frozen=True)
class Traffic:
    """A kind of traffic.

    Args:
        kind: "create", "stocks", "list", "mix", or "fixed": always the same create request.
        skus: the goods are 1..skus.
        lines: of an order; each of another sku.
        zipf: the n-th sku is asked for in proportion to 1 / n**zipf; 0: all alike.
        orders: of "list": ids are 1..orders.
    """

    kind: str = "create"
    skus: int = 10_000
    lines: int = 3
    zipf: float = 0.0
    orders: int = 0
    seed: int = 1

    @property
    def keeps(self) -> bool:
        """Whether it needs the answers."""
        return self.kind == "mix"


class Source:
    """An endless source of requests, (method, body) each; of "mix" it must be told of the orders that were made."""

    def __init__(self, traffic: Traffic):
        self.traffic = traffic
        self._random = random.Random(traffic.seed)
        self._run = os.urandom(6).hex()  # request ids of another run must not come again
        self._unpaid: deque[int] = deque()
        self._some: deque[int] = deque([1], maxlen=1000)
        self._numbers = itertools.count()
        self.next = {
            "create": self._creates, "fixed": self._fixed, "stocks": self._stocks, "list": self._lists,
            "mix": self._mix,
        }[traffic.kind]().__next__  # fmt: skip

    def made(self, answer: bytes) -> None:
        """An answer of CreateOrder, with the five bytes before it: the order may be paid now."""
        order_id = read_order_id(answer)
        self._unpaid.append(order_id)
        self._some.append(order_id)

    def _creates(self) -> Iterator[tuple[int, bytes]]:
        baskets = itertools.cycle(self._baskets())
        run, users = self._run, itertools.cycle(self._random.choices(range(1, USERS), k=BASKETS))
        for number in self._numbers:
            key = b"%s-%012d" % (run.encode(), number)
            yield CREATE, b"\x08%b%b\x1a%c%b" % (varint(next(users)), next(baskets), len(key), key)

    def _fixed(self) -> Iterator[tuple[int, bytes]]:
        """Always the same bytes, a request id among them: for an echo, and for comparison with h2load."""
        return itertools.repeat(next(self._creates()))

    def _stocks(self) -> Iterator[tuple[int, bytes]]:
        skus = self._random.choices(range(1, self.traffic.skus + 1), k=BASKETS)
        return itertools.cycle([(STOCKS, b"\x08" + varint(sku)) for sku in skus])

    def _lists(self) -> Iterator[tuple[int, bytes]]:
        orders = self._random.choices(range(1, self.traffic.orders + 1), k=BASKETS)
        return itertools.cycle([(LIST, b"\x08" + varint(order)) for order in orders])

    def _mix(self) -> Iterator[tuple[int, bytes]]:
        creates, stocks = self._creates(), self._stocks()
        while True:
            dice = self._random.random() * 100
            method = next(method for until, method in MIX if dice < until)
            if method == CREATE or (method in (PAY, CANCEL) and len(self._unpaid) < MIX_STARTS_WITH):
                yield next(creates)
            elif method == STOCKS:
                yield next(stocks)
            elif method == LIST:
                yield LIST, b"\x08" + varint(self._random.choice(self._some))
            else:
                key = b"%s-%012d" % (self._run.encode(), next(self._numbers))
                field = b"\x12" if method == PAY else b"\x1a"
                yield method, b"\x08%b%b%c%b" % (varint(self._unpaid.popleft()), field, len(key), key)

    def _baskets(self) -> list[bytes]:
        """The lines of orders, encoded."""
        skus = range(1, self.traffic.skus + 1)
        items = [b"\x12%c%b" % (len(item), item) for item in (b"\x08%b\x10\x01" % varint(sku) for sku in skus)]
        weights = list(itertools.accumulate(sku**-self.traffic.zipf for sku in skus))
        baskets = max(1, BASKETS // self.traffic.lines)
        return [b"".join(self._different(items, weights)) for _ in range(baskets)]

    def _different(self, items: Sequence[bytes], weights: Sequence[float]) -> list[bytes]:
        lines = min(self.traffic.lines, len(items))
        picked: dict[bytes, Any] = {}
        while len(picked) < lines:
            picked |= dict.fromkeys(self._random.choices(items, cum_weights=weights, k=lines - len(picked)))
        return list(picked)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    if number < 128:
        return bytes((number,))
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def read_order_id(answer: bytes) -> int:
    """The id in an answer of CreateOrder: its first field, after the five bytes that gRPC puts before a message."""
    number, shift, place = 0, 0, 6
    while True:
        byte = answer[place]
        number |= (byte & 127) << shift
        if byte < 128:
            return number
        shift, place = shift + 7, place + 1
