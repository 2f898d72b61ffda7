"""What a message says: templates/<language>/<order status>.txt, with the blocks subject, text and, where sent, sms.

Templates are sandboxed and strict: one that names what it is not given fails, it does not leave a gap.
"""

import unicodedata
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.numbers import format_currency, get_currency_precision
from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from abacus.loms.v1 import events_pb2, loms_pb2
from kit import json
from notifications.messages import CHANNELS, Channel, Claimed, status_name

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("ru", "en")

_MONEY = {"ru": "#,##0.00 ¤", "en": "¤¤ #,##0.00"}
_TIME = "d MMMM, HH:mm (ZZZZ)"
_BLOCKS = {Channel.EMAIL: ("subject", "text"), Channel.SMS: ("sms",)}


class RenderError(Exception):
    """A message that cannot be put into words; its templates need a look."""


class Texts:
    """The templates, compiled and complete.

    Raises:
        RenderError: a template or a block of one is missing.
    """

    def __init__(self, timezone: str, folder: Path = TEMPLATES):
        self.timezone = ZoneInfo(timezone)
        environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folder),
            undefined=StrictUndefined,
            autoescape=False,  # plain text
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates: dict[tuple[str, str], Template] = {}
        for language in LANGUAGES:
            for number, channels in CHANNELS.items():
                status = status_name(loms_pb2.OrderStatus, number)
                name = f"{language}/{status}.txt"
                try:
                    template = environment.get_template(name)
                except TemplateError as error:
                    raise RenderError(f"template {name}: {error!r}") from error
                if missing := {block for channel in channels for block in _BLOCKS[channel]} - set(template.blocks):
                    raise RenderError(f"template {name} lacks {', '.join(sorted(missing))}")
                self._templates[language, status] = template

    def render(self, channel: Channel, claimed: Claimed) -> tuple[str, str]:
        """Return subject (empty for SMS) and text.

        Raises:
            RenderError: the template failed, or the event holds what cannot be shown.
        """
        try:
            template = self._templates[claimed.language, claimed.order_status]
            values = self._values(claimed)
            parts = {
                block: "".join(template.blocks[block](template.new_context(values))).strip()
                for block in _BLOCKS[channel]
            }
        except Exception as error:  # whatever a template may do, and a date that no calendar has
            raise RenderError(f"template {claimed.language}/{claimed.order_status}.txt: {error!r}") from error
        if channel is Channel.EMAIL:
            return _one_line(parts["subject"]), parts["text"] + "\n"
        return "", parts["sms"]

    def _values(self, claimed: Claimed) -> dict[str, Any]:
        event, language = json.loads(events_pb2.OrderStatusChanged, claimed.event.encode()), claimed.language

        def money(units: int) -> str:
            return _money(units, event.currency, language)

        return {
            "name": _one_line(claimed.first_name),
            "order": event.order_id,
            "lines": [
                {
                    "name": _one_line(line.name) or f"№ {line.sku}",
                    "count": line.count,
                    "sum": money(line.price * line.count),
                }
                for line in event.items
            ],
            # An order that was placed without prices has none to show.
            "total": money(event.total_price) if event.total_price else "",
            "pay_by": self._time(event.pay_by.ToDatetime(ZoneInfo("UTC")), language)
            if event.HasField("pay_by")
            else "",
            "reason": _one_line(event.reason).rstrip("."),
        }

    def _time(self, at: datetime, language: str) -> str:
        return format_datetime(at, _TIME, tzinfo=self.timezone, locale=language)


def _money(units: int, currency: str, language: str) -> str:
    """`1 499,00 ₽`, `RUB 1,499.00` of minor units."""
    amount = Decimal(units).scaleb(-get_currency_precision(currency))
    text = format_currency(amount, currency, _MONEY[language], locale=language)
    # A no-break space would double the price of an SMS in English, and nobody finds it by searching.
    return text.replace("\xa0", " ").replace("\u202f", " ")


def _one_line(text: str) -> str:
    """Foreign text without line breaks, control and direction marks: it must not look like ours."""
    return " ".join(
        "".join(" " if unicodedata.category(sign).startswith(("C", "Z")) else sign for sign in text).split()
    )
