"""The errors of loms: one row each, a gRPC code and a stable reason."""

from google.rpc import code_pb2

from kit.errors import Error, Reason

ORDER_NOT_FOUND = Reason(code_pb2.NOT_FOUND, "ORDER_NOT_FOUND")
ORDER_NOT_PAYABLE = Reason(code_pb2.FAILED_PRECONDITION, "ORDER_NOT_PAYABLE")
ORDER_NOT_CANCELLABLE = Reason(code_pb2.FAILED_PRECONDITION, "ORDER_NOT_CANCELLABLE")
PAYMENT_TOO_LATE = Reason(code_pb2.FAILED_PRECONDITION, "PAYMENT_TOO_LATE")
STALE_VERSION = Reason(code_pb2.ABORTED, "STALE_VERSION")
STOCK_NOT_FOUND = Reason(code_pb2.NOT_FOUND, "STOCK_NOT_FOUND")
STOCK_BELOW_RESERVED = Reason(code_pb2.FAILED_PRECONDITION, "STOCK_BELOW_RESERVED")
TOO_MANY_POSITIONS = Reason(code_pb2.INVALID_ARGUMENT, "TOO_MANY_POSITIONS")
TOO_MANY_UNITS = Reason(code_pb2.INVALID_ARGUMENT, "TOO_MANY_UNITS")


def no_order(order_id: int) -> Error:
    """What is said of an order that does not exist, and of another person's."""
    return ORDER_NOT_FOUND(f"there is no order {order_id}", order_id=order_id)
