"""What a cart costs: pure."""

from collections import Counter
from collections.abc import Mapping
from typing import TypedDict

from checkout.errors import CURRENCIES_MIXED, PRODUCT_GONE
from checkout.peers import Product


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


def to_buy(units: Mapping[int, int], products: Mapping[int, Product]) -> tuple[list[Line], int, str]:
    """Put names and prices to the units (by sku) of a cart; return its lines, their total and its currency.

    Raises:
        Error: PRODUCT_GONE, naming every sku that is not sold any more; CURRENCIES_MIXED.
    """
    gone = [sku for sku in units if sku not in products]
    if gone:
        skus = ",".join(map(str, gone))
        raise PRODUCT_GONE(f"not sold any more: {skus}", skus=skus)
    (currency, total), *others = totals(units, products).items()
    if others:
        currencies = ",".join(sorted([currency, *dict(others)]))
        raise CURRENCIES_MIXED(f"one purchase is in one currency, not in {currencies}", currencies=currencies)
    lines = [
        Line(sku=sku, count=count, name=products[sku].name, price=products[sku].price) for sku, count in units.items()
    ]
    return lines, total, currency
