"""gRPC over HTTP/2 where no library of gRPC's own speaks it: messages in frames, compression, deadlines, statuses."""

import base64
import re
import struct
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from google.rpc import code_pb2

from kit import errors
from kit.grpc_door import MAX_MESSAGE_BYTES

PREFIX = struct.Struct(">BI")  # of a message: whether it is compressed, and its length

Receive = Callable[[], Awaitable[dict[str, Any]]]  # ASGI's: gives the next part of a request
Headers = list[tuple[bytes, bytes]]

HEADERS: Headers = [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"identity, deflate, gzip")]

_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class RefusedError(Exception):
    """A status of the protocol itself, which no reason of ours names."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


class GoneError(Exception):
    """The client went away."""


class Messages:
    """The messages that a client sends.

    Args:
        headers: of the call, keys in lower case.
        event: of ASGI, where one was received already.
    """

    def __init__(self, receive: Receive, headers: Mapping[str, str], event: dict[str, Any] | None = None):
        self.receive = receive
        self.ended = False  # whether the client has said all
        self._encoding = headers.get("grpc-encoding", "identity")
        self._bytes = bytearray()
        if event:
            self._add(event)

    async def next(self) -> bytes | None:
        """Give the next one; None after the last.

        Raises:
            RefusedError: it is none that gRPC allows, or that we take.
            GoneError: the client went away.
        """
        while True:
            size = int.from_bytes(self._bytes[1 : PREFIX.size]) if len(self._bytes) >= PREFIX.size else 0
            if size > MAX_MESSAGE_BYTES:
                raise RefusedError(
                    code_pb2.RESOURCE_EXHAUSTED, f"a message has {size} bytes, we take at most {MAX_MESSAGE_BYTES}"
                )
            if len(self._bytes) >= PREFIX.size + size:
                compressed, message = self._bytes[0], bytes(self._bytes[PREFIX.size : PREFIX.size + size])
                del self._bytes[: PREFIX.size + size]
                return self._decompress(message) if compressed else message
            if self.ended and self._bytes:
                raise RefusedError(code_pb2.INTERNAL, "a message is cut off")
            if self.ended:
                return None
            self._add(await self.receive())

    def _add(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.disconnect":
            raise GoneError
        self._bytes += event.get("body", b"")
        self.ended = not event.get("more_body", False)

    def _decompress(self, message: bytes) -> bytes:
        if self._encoding == "identity":
            raise RefusedError(code_pb2.INTERNAL, "a message is compressed, and nobody says how")
        if self._encoding not in ("gzip", "deflate"):
            raise RefusedError(code_pb2.UNIMPLEMENTED, "we take messages plain, or compressed by gzip or deflate")
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # of either
        try:
            plain = unpack.decompress(message, MAX_MESSAGE_BYTES + 1)
        except zlib.error:
            raise RefusedError(code_pb2.INTERNAL, "a message is not compressed as it says") from None
        if len(plain) > MAX_MESSAGE_BYTES:
            raise RefusedError(
                code_pb2.RESOURCE_EXHAUSTED, f"a message has more than {MAX_MESSAGE_BYTES} bytes when unpacked"
            )
        if not unpack.eof:
            raise RefusedError(code_pb2.INTERNAL, "a message is cut off")
        return plain


def frame(message: bytes) -> bytes:
    """Give a message its prefix."""
    return PREFIX.pack(0, len(message)) + message


def timeout_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the caller allows; None where it sets no deadline.

    Raises:
        RefusedError: it says something else.
    """
    told = headers.get("grpc-timeout")
    if told is None:
        return None
    found = _TIMEOUT.fullmatch(told)
    if not found:
        raise RefusedError(code_pb2.INTERNAL, "grpc-timeout is not a number of at most 8 digits and a unit")
    return int(found[1]) * _UNIT_S[found[2]]


def status(error: RefusedError | errors.Error) -> Headers:
    """An error as trailers; ours with its details."""
    headers = [(b"grpc-status", b"%d" % error.code), (b"grpc-message", quote(error.message, safe=_PRINTABLE).encode())]
    if isinstance(error, errors.Error):
        details = base64.b64encode(errors.to_status(error).SerializeToString()).rstrip(b"=")
        headers.append((b"grpc-status-details-bin", details))
    return headers
