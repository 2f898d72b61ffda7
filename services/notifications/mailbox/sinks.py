"""The two ways in: an SMTP server and an HTTP SMS gateway, with the errors that real ones have."""

import asyncio
import email
import email.policy
from email.message import EmailMessage
from typing import Any

import structlog
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from notifications.mailbox.box import Box

log = structlog.get_logger()

MAX_MAIL_BYTES = 1024 * 1024
MAX_SMS_CHARACTERS = 1600
REFUSED_AT_FIRST = 2  # tries


class Mail:
    """What aiosmtpd asks for each recipient and each message."""

    def __init__(self, box: Box, *, slow_s: float):
        self.box = box
        self.slow_s = slow_s

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a sender, or refuse it for good."""
        if _domain(address) == "blocked.example":
            return "550 5.7.1 this sender may not send here"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse it for good."""
        if _domain(address) == "bounce.example":
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a message, or refuse it for now or for good."""
        source = envelope.content if isinstance(envelope.content, bytes) else (envelope.content or "").encode()
        message = email.message_from_bytes(source, policy=email.policy.default)
        key = str(message.get("Message-ID", "")).strip()
        domains = {_domain(to) for to in envelope.rcpt_tos}
        if any(to.lower().startswith("slow@") for to in envelope.rcpt_tos):
            await asyncio.sleep(self.slow_s)
        if "spam.example" in domains:
            return "554 5.7.1 refused for its content"
        if "down.example" in domains:
            return "451 4.3.0 the mailbox is down, try again later"
        if "busy.example" in domains and self.box.tried_before(key, envelope.rcpt_tos[0]) < REFUSED_AT_FIRST:
            return "451 4.7.1 try again later"
        if "drop.example" in domains and self.box.tried_before(key, envelope.rcpt_tos[0]) < REFUSED_AT_FIRST:
            transport: Any = server.transport  # uvloop's can abort too, and is no asyncio.Transport
            transport.abort()
            return "421 4.3.0 closing"
        body = message.get_body(("plain", "html")) if isinstance(message, EmailMessage) else None
        delivered = None
        for to in envelope.rcpt_tos:
            delivered, fresh = self.box.put(
                channel="email",
                sender=str(message.get("From", envelope.mail_from or "")),
                to=to,
                subject=str(message.get("Subject", "")),
                text=str(body.get_content()).replace("\r\n", "\n") if body else "",
                key=key,
                source=source.decode("utf-8", errors="replace"),
            )
            log.info("mail", id=delivered.number, fresh=fresh)
        return f"250 2.0.0 taken as {delivered.number if delivered else 0}"


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def sms_app(box: Box, *, slow_s: float) -> web.Application:
    """Build the gateway: POST /sms `{"to": "+79000000001", "text": "…"}`, header Idempotency-Key; answers `{"id"}`."""

    async def take(request: web.Request) -> web.Response:
        key = request.headers.get("Idempotency-Key", "")
        try:
            body: Any = await request.json()
            to, text = body["to"], body["text"]
            if not (isinstance(to, str) and isinstance(text, str)):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            return _refusal(400, "expected JSON with the strings `to` and `text`")
        if not (to.startswith("+") and to[1:].isdecimal() and 8 <= len(to) <= 16) or to.endswith("9001"):
            return _refusal(400, "not a number that can get SMS")
        if not text or len(text) > MAX_SMS_CHARACTERS:
            return _refusal(400, f"the text has 1 to {MAX_SMS_CHARACTERS} characters")
        if to.endswith("9004"):
            await asyncio.sleep(slow_s)
        for ending, status in (("9002", 503), ("9003", 429)):
            if to.endswith(ending) and box.tried_before(key, to) < REFUSED_AT_FIRST:
                return _refusal(status, "try again later")
        delivered, fresh = box.put(
            channel="sms", sender=str(body.get("from", "")), to=to, subject="", text=text, key=key, source=""
        )
        log.info("sms", id=delivered.number, fresh=fresh)
        return web.json_response({"id": str(delivered.number)})

    app = web.Application(client_max_size=64 * 1024)
    app.router.add_post("/sms", take)
    return app


def _refusal(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
