"""python -m notifications.mailbox: the SMTP sink, the SMS sink and the web page, in one process."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import structlog
import uvloop
from aiohttp import web
from aiosmtpd.smtp import SMTP
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from kit import logging, settings
from kit.settings import Address, host_and_port
from notifications.mailbox import page, sinks
from notifications.mailbox.box import Box

log = structlog.get_logger()


class Settings(BaseSettings):
    """Where the mailbox listens."""

    model_config = SettingsConfigDict(env_prefix="MAILBOX_")

    web: Address = Field("127.0.0.1:8025", description="of the web page, host:port")
    smtp: Address = Field("127.0.0.1:1025", description="of the mail relay, host:port")
    sms: Address = Field("127.0.0.1:8026", description="of the SMS gateway, host:port; POST /sms")
    slow_s: float = Field(3, ge=0, le=600, description="how long slow recipients take")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")


@contextlib.asynccontextmanager
async def _http(app: web.Application, address: str) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2)
    await runner.setup()
    try:
        await web.TCPSite(runner, *host_and_port(address)).start()
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def running(given: Settings) -> AsyncIterator[Box]:
    """Serve the three addresses as long as the block lasts; the web port last, because health is asked there."""
    loop = asyncio.get_running_loop()
    box = Box()
    sink = sinks.Mail(box, slow_s=given.slow_s)
    smtp = await loop.create_server(
        lambda: SMTP(sink, data_size_limit=sinks.MAX_MAIL_BYTES, enable_SMTPUTF8=True, hostname="mailbox", loop=loop),
        *host_and_port(given.smtp),
    )
    try:
        async with _http(sinks.sms_app(box, slow_s=given.slow_s), given.sms), _http(page.app(box), given.web):
            yield box
    finally:
        smtp.close()


async def _main(given: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(given):
        log.info("listening", web=given.web, smtp=given.smtp, sms=given.sms)
        await stop.wait()
    log.info("stopped")


if __name__ == "__main__":
    chosen = settings.read(Settings)
    logging.configure("mailbox", chosen.log_level)
    uvloop.run(_main(chosen))
