"""The contract's forms of what is kept: how orders and reservations are shown."""

from collections.abc import Iterable, Sequence
from typing import Any

from abacus.loms.v1 import loms_pb2
from loms import history, life, orders
from loms.orders import Address, Order
from loms.reservations import FAILED, HELD, POSTED, Reservation

# Of an order, what became of the stock that was asked for; of a cancelled one its holds tell.
_RESERVATION_OF = {
    life.AWAITING_PAYMENT: HELD,
    life.FAILED: FAILED,
    life.PAID: POSTED,
    life.ASSEMBLING: POSTED,
    life.READY_FOR_PICKUP: POSTED,
    life.DELIVERING: POSTED,
    life.RECEIVED: POSTED,
}


def shown(order: Order) -> loms_pb2.ListOrderResponse:
    """An order as the seed's ListOrder tells it."""
    return loms_pb2.ListOrderResponse(
        status=history.to_enum(order.status),
        user=order.user,
        items=[
            loms_pb2.OrderItem(sku=line.sku, count=line.units, name=line.name, price=line.price) for line in order.lines
        ],
        order_id=order.id,
        version=order.version,
        created_at=history.to_timestamp(order.created_at),
        updated_at=history.to_timestamp(order.updated_at),
        pay_by=history.to_timestamp(order.pay_by),
        total_price=order.total_price,
        currency=order.currency,
        reason=order.reason,
        shortages=orders.to_shortages(order.shortages),
    )


def whole(order: Order, address: Address, changes: Iterable[Any]) -> loms_pb2.Order:
    """An order with all that belongs to it.

    Args:
        order: as it was read.
        address: empty where it was made without.
        changes: the rows of its history, in order of version; those after the order was read are left out.
    """
    return loms_pb2.Order(
        id=order.id,
        status=history.to_enum(order.status),
        total_amount=order.total_price,
        currency=order.currency,
        items=[
            loms_pb2.OrderedProduct(
                product_id=line.sku,
                name=line.name,
                quantity=line.units,
                price=line.price,
                amount=line.price * line.units,
            )
            for line in order.lines
        ],
        **address._asdict(),
        created_at=history.to_timestamp(order.created_at),
        updated_at=history.to_timestamp(order.updated_at),
        pay_by=history.to_timestamp(order.pay_by),
        version=order.version,
        reason=order.reason,
        shortages=orders.to_shortages(order.shortages),
        history=[change(row) for row in changes if row["version"] <= order.version],
        user=order.user,
    )


def summary(order: Order) -> loms_pb2.OrderSummary:
    """An order as one of a list."""
    return loms_pb2.OrderSummary(
        id=order.id,
        status=history.to_enum(order.status),
        total_amount=order.total_price,
        currency=order.currency,
        created_at=history.to_timestamp(order.created_at),
        updated_at=history.to_timestamp(order.updated_at),
        pay_by=history.to_timestamp(order.pay_by),
        version=order.version,
    )


def change(row: Any) -> loms_pb2.OrderChange:
    """A row of an order's history."""
    return loms_pb2.OrderChange(
        version=row["version"],
        previous_status=history.to_enum(row["previous_status"]),
        status=history.to_enum(row["status"]),
        reason=row["reason"],
        actor=row["actor"],
        at=row["at"],
    )


def stocks(free: Iterable[tuple[int, int]]) -> list[loms_pb2.Stock]:
    """(warehouse_id, units) of one sku."""
    return [loms_pb2.Stock(warehouse_id=warehouse_id, count=units) for warehouse_id, units in free]


def product_stock(sku: int, free: Sequence[tuple[int, int]]) -> loms_pb2.ProductStock:
    """The same with the sku, and added up."""
    available = sum(units for _, units in free)
    return loms_pb2.ProductStock(product_id=sku, available=available, warehouses=stocks(free))


def reserved(answer: loms_pb2.ReserveOrderResponse) -> loms_pb2.CreateReservationResponse:
    """What ReserveOrder says, in the words of reservations."""
    state = _RESERVATION_OF[history.from_enum(answer.status) or ""]
    return loms_pb2.CreateReservationResponse(
        reservation_id=answer.order_id,
        status=reservation_status(state),
        shortages=answer.shortages,
        expires_at=answer.pay_by if state == HELD else None,
    )


def reservation(found: Reservation) -> loms_pb2.Reservation:
    """A reservation."""
    return loms_pb2.Reservation(
        reservation_id=found.order_id,
        order_id=found.order_id,
        status=reservation_status(found.state),
        items=[loms_pb2.ReservedProduct(product_id=sku, reserved_quantity=units) for sku, units in found.items],
        created_at=history.to_timestamp(found.created_at),
        expires_at=history.to_timestamp(found.pay_by) if found.state == HELD else None,
    )


def reservation_status(state: str) -> loms_pb2.ReservationStatus:
    """The contract's value for the state of an order's holds."""
    value: loms_pb2.ReservationStatus = getattr(loms_pb2, f"RESERVATION_STATUS_{state.upper()}")
    return value
