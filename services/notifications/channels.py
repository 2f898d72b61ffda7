"""The ways out: a mail relay by SMTP, an SMS gateway by HTTP. The only place that knows them.

A real relay needs settings only (address, login, STARTTLS is used where it is offered). A real SMS gateway is told by
NOTIFICATIONS_SMS_URL and _SMS_TOKEN_FILE where it takes our JSON; for one that does not, write a class with the `open`
of SmsGateway and give it to `Sender` in `__main__`. Both kinds get a key with each message, always the same for the
same message, by which they can drop a repeat.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Protocol

import aiohttp
import aiosmtplib

from kit.settings import host_and_port
from notifications.failures import Failure


@dataclass(frozen=True)
class Outgoing:
    """A message, rendered."""

    key: str  # always the same for this message
    address: str
    subject: str  # empty for SMS
    text: str
    created_at: datetime


class RefusedError(Failure):
    """Not taken, and what the other side said, which may quote the address and the text."""


class Session(Protocol):
    """What a worker sends a few messages through, one after another."""

    async def send(self, message: Outgoing) -> None:
        """Hand a message over.

        Raises:
            RefusedError: it was not taken, or nobody knows whether it was.
        """


class Port(Protocol):
    """A relay or gateway."""

    def open(self) -> contextlib.AbstractAsyncContextManager[Session]:
        """A session; it connects when it is used."""


class MailRelay:
    """An SMTP server that takes e-mails for everybody."""

    def __init__(self, address: str, *, sender: str, user: str = "", password: str | None = None, timeout_s: float):
        self.host, self.port = host_and_port(address)
        self.sender = sender
        self.user = user
        self.password = password
        self.timeout_s = timeout_s

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Session]:
        """One connection for all messages of the session, opened again where it broke."""
        session = _MailSession(self)
        try:
            yield session
        finally:
            await session.close()


class _MailSession:
    def __init__(self, relay: MailRelay):
        self.relay = relay
        self._smtp: aiosmtplib.SMTP | None = None

    async def send(self, message: Outgoing) -> None:
        try:
            async with asyncio.timeout(self.relay.timeout_s):
                smtp = await self._connected()
                await smtp.send_message(self._email(message), sender=parseaddr(self.relay.sender)[1])
        except Exception as error:  # of the network, of the relay, and of libraries that a strange address trips
            if not (isinstance(error, _ANSWERS) and self._smtp and self._smtp.is_connected):
                await self.close()
            raise _mail_refusal(error) from error

    async def close(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp:
            smtp.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._smtp is None or not self._smtp.is_connected:
            self._smtp = aiosmtplib.SMTP(
                hostname=self.relay.host,
                port=self.relay.port,
                username=self.relay.user or None,
                password=self.relay.password,
                timeout=self.relay.timeout_s,
            )
            await self._smtp.connect()
        return self._smtp

    def _email(self, message: Outgoing) -> EmailMessage:
        email = EmailMessage()
        # A header with a line break in it raises ValueError.
        email["From"] = self.relay.sender
        email["To"] = message.address
        email["Subject"] = message.subject
        email["Date"] = format_datetime(message.created_at)
        email["Message-ID"] = f"<{message.key}@{parseaddr(self.relay.sender)[1].rpartition('@')[2]}>"
        email["Auto-Submitted"] = "auto-generated"
        email.set_content(message.text)
        return email


# What the server says of a message; after it the connection is as good as before.
_ANSWERS = (
    aiosmtplib.SMTPRecipientsRefused,
    aiosmtplib.SMTPRecipientRefused,
    aiosmtplib.SMTPSenderRefused,
    aiosmtplib.SMTPDataError,
)


def _mail_refusal(error: Exception) -> RefusedError:
    first = error.recipients[0] if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else error
    if isinstance(first, _ANSWERS) and isinstance(first, aiosmtplib.SMTPResponseException):
        # A refused sender is our setting's fault, and settings can be mended.
        ours = isinstance(first, aiosmtplib.SMTPSenderRefused)
        return RefusedError(f"SMTP {first.code}", first.message, for_good=500 <= first.code < 600 and not ours)
    name, words = type(error).__name__, str(error)
    if isinstance(error, aiosmtplib.SMTPNotSupported | ValueError):
        return RefusedError(f"cannot be sent by this relay: {name}", words, for_good=True)
    if isinstance(error, aiosmtplib.SMTPException | OSError):  # TimeoutError is an OSError
        return RefusedError(f"mail relay: {name}", words)
    return RefusedError(f"cannot be sent: {name}", words)


# What a gateway says of a message; all else, such as 401 or 404, it says of our settings or of the moment.
_HTTP_FOR_GOOD = (400, 413, 422)


class SmsGateway:
    """An HTTP service that takes `{"to", "text"}` and knows a repeat by its Idempotency-Key."""

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float):
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.timeout = aiohttp.ClientTimeout(total=timeout_s)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Session]:
        """One HTTP client for all messages of the session."""
        async with aiohttp.ClientSession(headers=self.headers, timeout=self.timeout) as http:
            yield _SmsSession(self.url, http)


class _SmsSession:
    def __init__(self, url: str, http: aiohttp.ClientSession):
        self.url = url
        self.http = http

    async def send(self, message: Outgoing) -> None:
        body = {"to": message.address, "text": message.text}
        headers = {"Idempotency-Key": message.key}
        try:
            async with self.http.post(self.url, json=body, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return
                told = (await answer.content.read(500)).decode(errors="replace")
                raise RefusedError(f"HTTP {answer.status}", told, for_good=answer.status in _HTTP_FOR_GOOD)
        except (aiohttp.ClientError, OSError) as error:
            raise RefusedError(f"SMS gateway: {type(error).__name__}", str(error)) from error
