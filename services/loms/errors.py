"""The errors of loms: one row each, a gRPC code and a stable reason."""

from google.rpc import code_pb2

from kit.errors import Error, Reason

ORDER_NOT_FOUND = Reason(code_pb2.NOT_FOUND, "ORDER_NOT_FOUND", "no such order")
ORDER_NOT_PAYABLE = Reason(
    code_pb2.FAILED_PRECONDITION, "ORDER_NOT_PAYABLE", "the order is new, cancelled or failed; metadata `status`"
)
ORDER_NOT_CANCELLABLE = Reason(
    code_pb2.FAILED_PRECONDITION, "ORDER_NOT_CANCELLABLE", "the order is paid or further, or failed; metadata `status`"
)
ORDER_NOT_RESERVABLE = Reason(
    code_pb2.FAILED_PRECONDITION, "ORDER_NOT_RESERVABLE", "the order is cancelled; metadata `status`"
)
ORDER_NOT_CONFIRMABLE = Reason(
    code_pb2.FAILED_PRECONDITION, "ORDER_NOT_CONFIRMABLE", "the order is not paid, or cancelled; metadata `status`"
)
ORDER_NOT_PAID = Reason(
    code_pb2.FAILED_PRECONDITION, "ORDER_NOT_PAID", "the units leave the warehouse when the order is paid, not before"
)
RESERVATION_NOT_FOUND = Reason(
    code_pb2.NOT_FOUND, "RESERVATION_NOT_FOUND", "no such order, or nobody asked for its stock"
)
ITEMS_DIFFER = Reason(
    code_pb2.INVALID_ARGUMENT, "ITEMS_DIFFER", "the items of the reservation are not those of the order"
)
PAYMENT_TOO_LATE = Reason(
    code_pb2.FAILED_PRECONDITION, "PAYMENT_TOO_LATE", "`pay_by` has passed, though nobody cancelled the order yet"
)
STALE_VERSION = Reason(code_pb2.ABORTED, "STALE_VERSION", "the order moved on since the version that the caller saw")
STOCK_NOT_FOUND = Reason(code_pb2.NOT_FOUND, "STOCK_NOT_FOUND", "the warehouse never received this sku")
STOCK_BELOW_RESERVED = Reason(
    code_pb2.FAILED_PRECONDITION, "STOCK_BELOW_RESERVED", "fewer units would be left than orders hold"
)
TOO_MANY_POSITIONS = Reason(
    code_pb2.INVALID_ARGUMENT, "TOO_MANY_POSITIONS", "more skus than an order may have (20, a setting)"
)
TOO_MANY_UNITS = Reason(code_pb2.INVALID_ARGUMENT, "TOO_MANY_UNITS", "over 65535 units of one sku, added up")


def no_order(order_id: int) -> Error:
    """What is said of an order that does not exist, and of another person's."""
    return ORDER_NOT_FOUND(f"there is no order {order_id}", order_id=order_id)


def stale(order_id: int, version: int, seen: int | None) -> Error:
    """What is said of an order that moved on since the version that the caller saw."""
    return STALE_VERSION(f"order {order_id} is at version {version}, not {seen}", order_id=order_id, version=version)
