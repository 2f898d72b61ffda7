"""What customers are told of their orders."""

from typing import Any
from zoneinfo import ZoneInfo

from abacus.loms.v1 import events_pb2, loms_pb2
from kit import json
from kit.db import Connection
from kit.inbox import Event
from notifications import messages
from notifications.kinds import Kind, Words, one_line
from notifications.messages import Channel, Claimed, status_name

TOPIC = "abacus.loms.order-status.v1"

# Which change of an order is told, and how; the others are not.
CHANNELS: dict[int, tuple[Channel, ...]] = {
    loms_pb2.ORDER_STATUS_AWAITING_PAYMENT: (Channel.EMAIL,),
    loms_pb2.ORDER_STATUS_PAID: (Channel.EMAIL, Channel.SMS),
    loms_pb2.ORDER_STATUS_ASSEMBLING: (Channel.EMAIL,),
    loms_pb2.ORDER_STATUS_CANCELLED: (Channel.EMAIL,),
    loms_pb2.ORDER_STATUS_FAILED: (Channel.EMAIL,),
    loms_pb2.ORDER_STATUS_RECEIVED: (Channel.EMAIL,),
}


async def record(conn: Connection, event: Event) -> None:
    """Note the messages that an abacus.loms.v1.OrderStatusChanged asks for."""
    change = event.message
    if channels := CHANNELS.get(change.status, ()):
        await messages.note_change(
            conn,
            event_id=event.event_id,
            user_id=change.user,
            order_id=change.order_id,
            version=change.version,
            status=status_name(loms_pb2.OrderStatus, change.status),
            channels=channels,
            event=json.dumps(change),
        )


def _values(change: Any, claimed: Claimed, words: Words) -> dict[str, Any]:
    def money(units: int) -> str:
        return words.money(units, change.currency)

    return {
        "name": one_line(claimed.first_name),
        "order": change.order_id,
        "lines": [
            {
                "name": one_line(line.name) or f"№ {line.sku}",
                "count": line.count,
                "sum": money(line.price * line.count),
            }
            for line in change.items
        ],
        # An order that was placed without prices has none to show.
        "total": money(change.total_price) if change.total_price else "",
        "pay_by": words.time(change.pay_by.ToDatetime(ZoneInfo("UTC"))) if change.HasField("pay_by") else "",
        "reason": one_line(change.reason).rstrip("."),
    }


KINDS = {
    status_name(loms_pb2.OrderStatus, status): Kind(channels, events_pb2.OrderStatusChanged, _values)
    for status, channels in CHANNELS.items()
}
