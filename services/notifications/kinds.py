"""What all kinds of messages have in common, and how values are written in the languages of the shop."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.numbers import format_currency, get_currency_precision
from babel.units import format_unit
from google.protobuf.message import Message

from notifications.messages import Channel, Claimed

_MONEY = {"ru": "#,##0.00 ¤", "en": "¤¤ #,##0.00"}
_TIME = "d MMMM, HH:mm (ZZZZ)"


@dataclass(frozen=True)
class Words:
    """How a language writes values, with the times of a time zone."""

    language: str
    timezone: ZoneInfo

    def money(self, units: int, currency: str) -> str:
        """`1 499,00 ₽`, `RUB 1,499.00` of minor units."""
        amount = Decimal(units).scaleb(-get_currency_precision(currency))
        text = format_currency(amount, currency, _MONEY[self.language], locale=self.language)
        # A no-break space would double the price of an SMS in English, and nobody finds it by searching.
        return text.replace("\xa0", " ").replace("\u202f", " ")

    def time(self, at: datetime) -> str:
        """`21 ноября, 12:30 (GMT+03:00)` of a time with a zone."""
        return format_datetime(at, _TIME, tzinfo=self.timezone, locale=self.language)

    def minutes(self, seconds: float) -> str:
        """`10 минут`, `1 minute`; the nearest, and one at least."""
        text = format_unit(max(1, round(seconds / 60)), "duration-minute", locale=self.language)
        return text.replace("\xa0", " ").replace("\u202f", " ")


@dataclass(frozen=True)
class Kind:
    """A kind of message: its ways to the customer, the proto message that it is made of, what its templates show."""

    channels: tuple[Channel, ...]
    content: type[Message]
    values: Callable[[Any, Claimed, Words], dict[str, Any]]


def one_line(text: str) -> str:
    """Foreign text without line breaks, control and direction marks: it must not look like ours."""
    return " ".join(
        "".join(" " if unicodedata.category(sign).startswith(("C", "Z")) else sign for sign in text).split()
    )


def lines(text: str) -> str:
    """Foreign text of which line breaks are kept, and nothing else that `one_line` takes out."""
    return "\n".join(map(one_line, text.splitlines())).strip("\n")
