"""Every change of an order, and its event. Owns the table order_history."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from abacus.loms.v1 import events_pb2, loms_pb2
from kit import outbox
from kit.db import Database, Part

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STATUS_TOPIC = "abacus.loms.order-status.v1"


class Line(NamedTuple):
    """One position of an order, as sold."""

    sku: int
    units: int
    name: str = ""
    price: int = 0  # of one unit, minor units


class Change(NamedTuple):
    """One change of one order, and what the order is after it."""

    order_id: int
    version: int
    previous_status: str | None
    status: str
    reason: str
    actor: str
    at: datetime
    user: int
    pay_by: datetime | None
    total_price: int
    currency: str
    lines: Sequence[Line]


def parts(changes: Sequence[Change]) -> list[Part]:
    """Write changes of locked (or just made) orders, which happened at one moment, and their events."""
    (at,) = {change.at for change in changes}
    times = {time: to_timestamp(time) for time in {at, *(change.pay_by for change in changes)}}
    return [
        Part(
            """
            INSERT INTO order_history (order_id, version, previous_status, status, reason, actor, at)
            SELECT order_id, version, previous_status, status, reason, actor, $7
              FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[])
                   AS change (order_id, version, previous_status, status, reason, actor)
            """,
            (
                [change.order_id for change in changes],
                [change.version for change in changes],
                [change.previous_status for change in changes],
                [change.status for change in changes],
                [change.reason for change in changes],
                [change.actor for change in changes],
                at,
            ),
        ),
        outbox.part(STATUS_TOPIC, [(str(change.order_id), _event(change, times)) for change in changes]),
    ]


async def of_order(db: Database, order_id: int) -> list[Any]:
    """The rows of an order's history in order of version; empty where there is no such order."""
    return await db.pool.fetch(
        """
        SELECT version, previous_status, status, reason, actor, at
          FROM order_history
         WHERE order_id = $1
         ORDER BY version
        """,
        order_id,
    )


@cache
def to_enum(status: str | None) -> loms_pb2.OrderStatus:
    """The contract's value for the word that the database keeps; UNSPECIFIED for none."""
    value: loms_pb2.OrderStatus = getattr(loms_pb2, f"ORDER_STATUS_{(status or 'unspecified').upper()}")
    return value


def to_timestamp(at: datetime | None) -> Timestamp | None:
    """The contract's form of a time; Timestamp's own way from a datetime takes four times as long."""
    if at is None:
        return None
    since = at - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def from_enum(status: loms_pb2.OrderStatus) -> str | None:
    """The word that the database keeps; None for UNSPECIFIED."""
    if status == loms_pb2.ORDER_STATUS_UNSPECIFIED:
        return None
    return loms_pb2.OrderStatus.Name(status).removeprefix("ORDER_STATUS_").lower()


def _event(change: Change, times: Mapping[datetime | None, Timestamp | None]) -> events_pb2.OrderStatusChanged:
    return events_pb2.OrderStatusChanged(
        order_id=change.order_id,
        version=change.version,
        user=change.user,
        previous_status=to_enum(change.previous_status),
        status=to_enum(change.status),
        reason=change.reason,
        actor=change.actor,
        at=times[change.at],
        pay_by=times[change.pay_by],
        items=[
            events_pb2.OrderLine(sku=line.sku, count=line.units, name=line.name, price=line.price)
            for line in change.lines
        ],
        total_price=change.total_price,
        currency=change.currency,
    )
