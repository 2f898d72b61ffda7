"""Allocation, as properties of a pure function."""

from datetime import UTC, datetime
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from loms.allocation import EXACT_WAREHOUSES_MAX, allocate
from loms.history import Line
from loms.life import AWAITING_PAYMENT, FAILED
from loms.placing import Look, Wanted, place

NOW = datetime(2026, 11, 21, tzinfo=UTC)

skus = st.integers(1, 4)
items = st.dictionaries(skus, st.integers(1, 8), min_size=1, max_size=4)


def shelves(warehouses_max):
    return st.dictionaries(skus, st.dictionaries(st.integers(1, warehouses_max), st.integers(0, 6)))


def stock_of(free, sku):
    return sum(free.get(sku, {}).values())


@given(items, shelves(EXACT_WAREHOUSES_MAX + 4))
def test_an_order_gets_all_of_its_lines_or_nothing(wanted, free):
    """Each line is given exactly, from what is there; None only where a line is short."""
    parts = allocate(wanted, free)
    if parts is None:
        assert any(stock_of(free, sku) < units for sku, units in wanted.items())
        return
    given_by_sku = {sku: sum(units for (part, _), units in parts.items() if part == sku) for sku in wanted}
    assert wanted == given_by_sku
    assert all(0 < units <= free[sku][place] for (sku, place), units in parts.items())


@given(items, shelves(5))
def test_no_set_of_fewer_warehouses_could_send_it(wanted, free):
    """Fewest parcels: every smaller set of warehouses is short; of the smallest, the fullest is taken."""
    parts = allocate(wanted, free)
    if parts is None:
        return
    used = {place for _, place in parts}
    places = {place for sku in wanted for place in free.get(sku, {})}

    def covers(some):
        return all(sum(free.get(sku, {}).get(place, 0) for place in some) >= units for sku, units in wanted.items())

    def fullness(some):
        return sum(free.get(sku, {}).get(place, 0) for sku in wanted for place in some)

    assert not any(covers(some) for size in range(len(used)) for some in combinations(places, size))
    assert max(fullness(some) for some in combinations(places, len(used)) if covers(some)) == fullness(used)


@given(st.lists(items, max_size=6), shelves(4))
def test_a_batch_is_what_its_orders_would_get_one_after_another(orders, free):
    """Order of arrival decides, nothing is given twice, and a short order says what was short at its turn."""
    left = {sku: dict(shelf) for sku, shelf in free.items()}
    wanted = [
        Wanted("test", str(number), b"", 7, "RUB", [Line(sku, units) for sku, units in items.items()])
        for number, items in enumerate(orders)
    ]
    look = Look(NOW, list(range(len(orders))), free)
    for items, placed in zip(orders, place(wanted, look, pay_by=NOW), strict=True):
        parts = allocate(items, left)
        assert (parts or {}) == {(hold.sku, hold.warehouse_id): hold.units for hold in placed.holds}
        short = {sku for sku, units in items.items() if stock_of(left, sku) < units}
        assert short == {shortage.sku for shortage in placed.order.shortages}
        assert (AWAITING_PAYMENT if parts else FAILED) == placed.order.status
        for (sku, warehouse_id), units in (parts or {}).items():
            left[sku][warehouse_id] -= units
    assert all(units >= 0 for shelf in left.values() for units in shelf.values())


def test_one_parcel_beats_the_fullest_shelf():
    """A warehouse that has both lines sends both, though another has more of one."""
    free = {1: {1: 9, 2: 2}, 2: {2: 2, 3: 9}}
    assert {(1, 2): 1, (2, 2): 1} == allocate({1: 1, 2: 1}, free)


def test_a_line_is_split_only_where_it_must_be():
    """Seven of five and three come from both, most from the fullest."""
    assert {(1, 1): 5, (1, 2): 2} == allocate({1: 7}, {1: {1: 5, 2: 3}})
