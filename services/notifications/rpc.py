"""The wire: what became of each message."""

from typing import Any

from abacus.notifications.v1 import notifications_pb2 as pb
from kit.calls import Call
from kit.db import Database
from kit.paging import Page
from notifications import listing
from notifications.messages import status_name


class Notifications:
    """The NotificationsService of the contract."""

    def __init__(self, db: Database):
        self.db = db

    async def ListMessages(self, request: pb.ListMessagesRequest, call: Call) -> pb.ListMessagesResponse:
        """Messages, the newest first."""
        page = Page(request)
        rows = await listing.newest(
            self.db,
            user_id=request.user if request.HasField("user") else None,
            order_id=request.order_id if request.HasField("order_id") else None,
            status=status_name(pb.MessageStatus, request.status) if request.status else None,
            before=page.last_id,
            limit=page.limit,
        )
        shown, token = page.cut(rows, key=lambda row: row["message_id"])
        return pb.ListMessagesResponse(messages=[_message(row) for row in shown], next_page_token=token)

    async def SendNotification(self, request, call):  # TODO: stub
        raise NotImplementedError

    async def GetNotification(self, request, call):  # TODO: stub
        raise NotImplementedError


def _message(row: Any) -> pb.Message:
    return pb.Message(
        message_id=row["message_id"],
        user=row["user_id"],
        order_id=row["order_id"],
        order_status=row["order_status"] and f"ORDER_STATUS_{row['order_status'].upper()}",
        channel=f"CHANNEL_{row['channel'].upper()}",
        status=f"MESSAGE_STATUS_{row['status'].upper()}",
        address=row["address"],
        subject=row["subject"],
        text=row["text"],
        attempts=row["attempts"],
        error=row["error"],
        created_at=row["created_at"],
        next_attempt_at=row["next_attempt_at"],
        sent_at=row["sent_at"],
        kind=row["kind"],
    )
