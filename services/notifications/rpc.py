"""The wire: what became of each message, and messages sent by hand."""

from typing import Any

from abacus.notifications.v1 import notifications_pb2 as pb
from kit import requests
from kit.calls import Call
from kit.db import Connection, Database
from kit.paging import Page
from notifications import by_hand, listing
from notifications.errors import NOTIFICATION_NOT_FOUND
from notifications.messages import Channel, status_name


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

    async def SendNotification(self, request: pb.SendNotificationRequest, call: Call) -> pb.SendNotificationResponse:
        """Queue a message to an address; a worker sends it."""
        channel = Channel(status_name(pb.Channel, request.channel))
        variables = by_hand.checked(request.template, channel, request.to, request.variables)

        async def effect(conn: Connection) -> pb.SendNotificationResponse:
            message_id = await by_hand.note(
                conn,
                template=request.template,
                channel=channel,
                to=request.to,
                variables=variables,
                language=call.language,
                sent_by=call.caller,
            )
            return pb.SendNotificationResponse(notification_id=message_id, status=pb.MESSAGE_STATUS_QUEUED)

        return await requests.once(self.db, call, request, effect)

    async def GetNotification(self, request: pb.GetNotificationRequest, call: Call) -> pb.GetNotificationResponse:
        """What became of a message, whatever it is about."""
        row = await listing.one(self.db, request.notification_id)
        if row is None:
            raise NOTIFICATION_NOT_FOUND(f"there is no message {request.notification_id}")
        return pb.GetNotificationResponse(
            notification=pb.Notification(
                notification_id=row["message_id"],
                status=f"MESSAGE_STATUS_{row['status'].upper()}",
                channel=f"CHANNEL_{row['channel'].upper()}",
                to=row["address"],
                template=row["kind"],
                created_at=row["created_at"],
                error_message=row["error"] or None,
                sent_at=row["sent_at"],
            )
        )


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
