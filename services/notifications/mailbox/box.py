"""What the mailbox holds, in memory: the newest messages, and how often each came."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MAX_MESSAGES = 20_000
MAX_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class Delivered:
    """A message that reached its recipient."""

    number: int
    channel: str  # "email" or "sms"
    sender: str
    to: str
    subject: str
    text: str
    key: str  # Message-ID or Idempotency-Key; empty where the sender gave none
    source: str  # as it came over the wire
    repeats: int = 0
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """Its JSON; `at` is RFC 3339 in UTC."""
        return {
            "id": self.number,
            "channel": self.channel,
            "from": self.sender,
            "to": self.to,
            "subject": self.subject,
            "text": self.text,
            "key": self.key,
            "repeats": self.repeats,
            "at": self.at.isoformat(),
        }


class Box:
    """The newest messages; older ones are forgotten when there are too many or they are too big together."""

    def __init__(self, *, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES):
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self._messages: OrderedDict[int, Delivered] = OrderedDict()
        self._by_key: dict[tuple[str, str, str], Delivered] = {}  # channel, key, recipient
        self._tries: OrderedDict[tuple[str, str], int] = OrderedDict()  # key, recipient
        self._bytes = 0
        self._last = 0

    def put(
        self, *, channel: str, sender: str, to: str, subject: str, text: str, key: str, source: str
    ) -> tuple[Delivered, bool]:
        """Deliver a message; return it, and whether it is new. One that came before is only counted."""
        known = self._by_key.get((channel, key, to)) if key else None
        if known:
            known.repeats += 1
            return known, False
        self._last += 1
        delivered = Delivered(self._last, channel, sender, to, subject, text, key, source)
        self._messages[delivered.number] = delivered
        if key:
            self._by_key[channel, key, to] = delivered
        self._bytes += _size(delivered)
        while len(self._messages) > self.max_messages or self._bytes > self.max_bytes:
            _, oldest = self._messages.popitem(last=False)
            self._by_key.pop((oldest.channel, oldest.key, oldest.to), None)
            self._bytes -= _size(oldest)
        return delivered, True

    def tried_before(self, key: str, to: str) -> int:
        """Count a try of a message that is refused for now; return how many there were before it."""
        before = self._tries.pop((key, to), 0)
        self._tries[key, to] = before + 1
        if len(self._tries) > self.max_messages:
            self._tries.popitem(last=False)
        return before

    def newest(self, *, to: str = "", skip: int = 0, limit: int = MAX_MESSAGES) -> list[Delivered]:
        """Return messages, the newest first; `to` is the whole recipient, in any case of letters."""
        found: list[Delivered] = []
        for message in self._matching(to):
            if skip > 0:
                skip -= 1
            elif len(found) < limit:
                found.append(message)
            else:
                break
        return found

    def count(self, *, to: str = "") -> int:
        """How many messages there are."""
        return len(self._messages) if not to else sum(1 for _ in self._matching(to))

    def get(self, number: int) -> Delivered | None:
        """One message by its number."""
        return self._messages.get(number)

    def clear(self) -> int:
        """Forget all messages; return how many there were. Numbers go on."""
        done = len(self._messages)
        self._messages.clear()
        self._by_key.clear()
        self._tries.clear()
        self._bytes = 0
        return done

    def _matching(self, to: str) -> Iterator[Delivered]:
        wanted = to.strip().lower()
        return (message for message in reversed(self._messages.values()) if not wanted or message.to.lower() == wanted)


def _size(message: Delivered) -> int:
    return 500 + len(message.text) + len(message.source) + len(message.subject)
