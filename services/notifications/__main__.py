"""python -m notifications [all|api|workers|migrate|status|replay]: the only place where it is wired up."""

from functools import partial

from abacus.identity.v1 import events_pb2 as identity_pb2
from abacus.loms.v1 import events_pb2 as loms_pb2
from abacus.notifications.v1 import notifications_pb2
from kit import inbox, requests, service, settings
from kit.db import Database
from notifications import accounts, contacts, listing, messages, orders, rpc
from notifications.channels import MailRelay, Port, SmsGateway
from notifications.messages import Channel
from notifications.seals import Seal
from notifications.sending import Sender
from notifications.settings import MIGRATIONS, Settings
from notifications.texts import Texts

PRUNE_EVERY_S = 60.0


def consumer(db: Database, kafka: str, group: str = "notifications") -> inbox.Consumer:
    """What is listened to."""
    return inbox.Consumer(
        db,
        kafka,
        group,
        [
            inbox.Subscription(orders.TOPIC, loms_pb2.OrderStatusChanged, orders.record),
            inbox.Subscription(contacts.TOPIC, identity_pb2.Contact, contacts.keep),
            inbox.Subscription(accounts.REGISTRATION_TOPIC, identity_pb2.Registration, accounts.welcome),
            inbox.Subscription(accounts.SECRET_TOPIC, identity_pb2.SecretMessage, accounts.secret),
        ],
    )


def senders(db: Database, given: Settings) -> list[Sender]:
    """What is sent, and through what."""
    texts, seal = Texts(given.timezone), Seal(given.seal_key_file)
    relay = MailRelay(
        given.smtp,
        sender=given.smtp_from,
        user=given.smtp_user,
        password=settings.secret(given.smtp_password_file),
        timeout_s=given.send_timeout_s,
    )
    gateway = SmsGateway(given.sms_url, token=settings.secret(given.sms_token_file), timeout_s=given.send_timeout_s)
    ports: dict[Channel, Port] = {Channel.EMAIL: relay, Channel.SMS: gateway}
    return [Sender(db, channel, port, texts, seal, settings=given) for channel, port in ports.items()]


async def serve(given: Settings, command: str) -> None:
    """Run until the process is told to stop."""
    async with service.running(given, "notifications", MIGRATIONS) as process:
        if command in ("all", "workers"):
            for sender in senders(process.db, given):
                process.work(sender.run)
            process.work(consumer(process.db, given.kafka).run)
            process.every("prune inbox", partial(inbox.prune, process.db), PRUNE_EVERY_S)
            process.every("prune requests", partial(requests.prune, process.db), PRUNE_EVERY_S)
            process.every("forget secrets", partial(messages.forget_secrets, process.db), PRUNE_EVERY_S)
        if command in ("all", "api"):
            await process.serve(
                (
                    notifications_pb2.DESCRIPTOR.services_by_name["NotificationsService"],
                    rpc.Notifications(process.db),
                )
            )


async def status(db: Database) -> dict[str, float]:
    """Dead letters, and the messages that are not sent."""
    return await inbox.status(db) | await listing.figures(db)


async def replay(given: Settings, db: Database) -> dict[str, float]:
    """Handle dead letters again, and send again what failed in the last 24 hours."""
    return await consumer(db, given.kafka).replay() | {"messages_queued": await messages.queue_failed(db)}


if __name__ == "__main__":
    service.main(Settings, MIGRATIONS, serve=serve, status=status, replay=replay)
