"""Orders, as checkout asks LOMS for them, and what LOMS's answers mean to a customer."""

from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from google.rpc import code_pb2

from abacus.loms.v1 import loms_pb2, loms_pb2_grpc
from checkout.errors import OUT_OF_STOCK, TOO_MANY_POSITIONS, TOO_MANY_UNITS
from kit.errors import Error

log = structlog.get_logger()

# LOMS has decided, and will not decide otherwise. All else (away, too slow, its own fault) is tried again.
_FINAL = {
    code_pb2.INVALID_ARGUMENT,
    code_pb2.NOT_FOUND,
    code_pb2.ALREADY_EXISTS,
    code_pb2.FAILED_PRECONDITION,
    code_pb2.OUT_OF_RANGE,
}
# What LOMS calls a wrong argument is too much in a cart or a list to our caller.
_OF_THE_CALLER = {reason.name: reason for reason in (TOO_MANY_POSITIONS, TOO_MANY_UNITS)}


@dataclass(frozen=True)
class Decision:
    """What LOMS made of a purchase."""

    order_id: int | None = None  # of a refused one: the order that LOMS keeps as failed, if it does
    ordered_at: datetime | None = None  # of a placed order
    refusal: Error | None = None


async def create(loms: loms_pb2_grpc.LomsServiceStub, request: loms_pb2.CreateOrderRequest) -> Decision:
    """Ask for an order that holds its stock.

    Raises:
        Error, RuntimeError: LOMS did not decide.
    """
    try:
        answer = await loms.CreateOrder(request)
    except Error as error:
        return _refused(error, request.request_id)
    if answer.status == loms_pb2.ORDER_STATUS_FAILED:
        return Decision(order_id=answer.order_id, refusal=_out_of_stock(answer))
    return Decision(order_id=answer.order_id)


async def place(loms: loms_pb2_grpc.LomsServiceStub, request: loms_pb2.PlaceOrderRequest) -> Decision:
    """Ask for an order that holds nothing yet.

    Raises:
        Error, RuntimeError: LOMS did not decide.
    """
    try:
        answer = await loms.PlaceOrder(request)
    except Error as error:
        return _refused(error, request.request_id)
    return Decision(order_id=answer.order_id, ordered_at=answer.created_at.ToDatetime(tzinfo=UTC))


def _refused(error: Error, request_id: str) -> Decision:
    """The decision in what LOMS refused, as our caller is told it: the fields that LOMS names are not his."""
    if error.code not in _FINAL:
        raise error
    log.error("loms refused an order", request=request_id, reason=error.reason, error=error.message)
    if reason := _OF_THE_CALLER.get(error.reason):
        return Decision(refusal=reason(error.message))
    return Decision(refusal=Error(error.code, error.reason, error.message, metadata=error.metadata))


def _out_of_stock(answer: loms_pb2.CreateOrderResponse) -> Error:
    short = answer.shortages
    skus = ",".join(str(shortage.sku) for shortage in short)
    return OUT_OF_STOCK(
        f"not enough in stock: {skus}",
        skus=skus,
        wanted=",".join(str(shortage.wanted) for shortage in short),
        available=",".join(str(shortage.available) for shortage in short),
        order_id=answer.order_id,
    )
