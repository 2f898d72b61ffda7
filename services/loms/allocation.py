"""Which warehouse gives what. Pure: no I/O, no clock."""

from collections.abc import Iterable, Mapping
from itertools import combinations

Shelves = Mapping[int, Mapping[int, int]]  # sku -> warehouse_id -> units free
Parts = dict[tuple[int, int], int]  # (sku, warehouse_id) -> units

# Up to here every set of warehouses is tried (at most 1023 of them); beyond it, the one that gives most comes next.
EXACT_WAREHOUSES_MAX = 10


def allocate(items: Mapping[int, int], free: Shelves) -> Parts | None:
    """Split an order over warehouses, or None when any line is short.

    Each warehouse sends one parcel: the fewest parcels win, then the set with most units of these skus, then the
    lowest ids. Within the set a line comes from the fullest warehouse first.
    """
    shelves = {sku: {place: units for place, units in free.get(sku, {}).items() if units > 0} for sku in items}
    if (sender := _one_sender(items, shelves)) is not None:
        return {(sku, sender): units for sku, units in items.items()}
    places = {place for shelf in shelves.values() for place in shelf}
    if not _covers(places, items, shelves):
        return None
    search = _fewest if len(places) <= EXACT_WAREHOUSES_MAX else _greedy
    chosen = search(places, items, shelves)
    parts: Parts = {}
    for sku, wanted in items.items():
        fullest_first = sorted(chosen, key=lambda place: (-shelves[sku].get(place, 0), place))
        for place in fullest_first:
            units = min(shelves[sku].get(place, 0), wanted)
            if units == 0:
                break
            parts[sku, place] = units
            wanted -= units
    return parts


def _one_sender(items: Mapping[int, int], shelves: Shelves) -> int | None:
    """The warehouse that has all of it; of several the fullest. Most orders find one, so it is looked for first."""
    best, most = None, 0
    for place in sorted(next(iter(shelves.values()))):
        units = 0
        for sku, wanted in items.items():
            there = shelves[sku].get(place, 0)
            if there < wanted:
                break
            units += there
        else:
            if units > most:
                best, most = place, units
    return best


def _covers(places: Iterable[int], items: Mapping[int, int], shelves: Shelves) -> bool:
    places = tuple(places)
    return all(sum(shelves[sku].get(place, 0) for place in places) >= wanted for sku, wanted in items.items())


def _fewest(places: set[int], items: Mapping[int, int], shelves: Shelves) -> tuple[int, ...]:
    """The smallest set that covers the order; of several, the fullest. All places together must cover it."""
    units = {place: sum(shelf.get(place, 0) for shelf in shelves.values()) for place in places}
    for size in range(2, len(places) + 1):  # one alone does not, see _one_sender
        # Combinations come in order of ids, and max() keeps the first of equals.
        fitting = [some for some in combinations(sorted(places), size) if _covers(some, items, shelves)]
        if fitting:
            return max(fitting, key=lambda some: sum(units[place] for place in some))
    raise AssertionError("all places together cover the order")


def _greedy(places: set[int], items: Mapping[int, int], shelves: Shelves) -> tuple[int, ...]:
    """A small set that covers the order: again and again the warehouse that gives most of what is still missing."""
    missing = dict(items)
    chosen: list[int] = []

    def gives(place: int) -> int:
        return sum(min(shelves[sku].get(place, 0), units) for sku, units in missing.items())

    while any(missing.values()):
        best = max(sorted(places.difference(chosen)), key=gives)
        chosen.append(best)
        for sku, units in missing.items():
            missing[sku] = units - min(shelves[sku].get(best, 0), units)
    return tuple(chosen)
