"""What a cart or a list costs: pure."""

from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

from checkout.errors import CURRENCIES_MIXED
from checkout.peers import Product
from kit.errors import Reason


class Line(TypedDict):
    """A line as bought; the price is of one unit, in minor units."""

    sku: int
    count: int
    name: str
    price: int


def totals(units: Mapping[int, int], products: Mapping[int, Product]) -> dict[str, int]:
    """Add up those of the units (by sku) that are sold: minor units by currency."""
    sums: Counter[str] = Counter()
    for sku, count in units.items():
        if product := products.get(sku):
            sums[product.currency] += count * product.price
    return dict(sums)


def to_buy(units: Mapping[int, int], products: Mapping[int, Product], *, unsold: Reason) -> tuple[list[Line], int, str]:
    """Put names and prices to the units (by sku) of a cart or a list; return its lines, their total and its currency.

    Raises:
        Error: unsold, naming every sku that is not on sale; CURRENCIES_MIXED.
    """
    missing = [sku for sku in units if sku not in products]
    if missing:
        skus = ",".join(map(str, missing))
        raise unsold(f"not on sale: {skus}", skus=skus)
    (currency, total), *others = totals(units, products).items()
    if others:
        currencies = ",".join(sorted([currency, *dict(others)]))
        raise CURRENCIES_MIXED(f"one order is in one currency, not in {currencies}", currencies=currencies)
    lines = [
        Line(sku=sku, count=count, name=products[sku].name, price=products[sku].price) for sku, count in units.items()
    ]
    return lines, total, currency
