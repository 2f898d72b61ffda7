"""gRPC over HTTP/2 by hand, for load: frames are made ahead, and many calls leave in one write.

A load generator on the machine that it measures must cost less than what it measures: grpcio's client takes 100 µs of
CPU a call, this one about 10. It speaks what unary gRPC needs and refuses the rest: no push, no continuation frames, no
compression. The header tables of HPACK stand still: the peer is told to use none; ours is filled by the first call of a
connection, after which each call to a method has the same bytes.
"""

import base64
import binascii
import socket
from collections import deque
from collections.abc import Sequence
from struct import Struct
from typing import Any
from urllib.parse import unquote

import hpack
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
TABLE_SIZE, ENABLE_PUSH, CONCURRENT_STREAMS_MAX, WINDOW_SIZE = 1, 2, 3, 4  # settings
WINDOW = 2**31 - 1  # of what we receive: as large as may be
TOP_UP_AT = 2**30
TABLE_BYTES = 4096  # of the peer, until it says less
UNLIMITED = 2**31
READ_BYTES = 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
ENDINGS_KEPT = 10_000
OK = "OK"

_head = Struct(">IBI")  # length << 8 | type, flags, stream
_setting = Struct(">HI")
_word = Struct(">I")


# The tag that the owner gave, OK or the reason of the refusal, the answer's bytes where they were kept.
Ended = tuple[Any, str, bytes]


class Connection:
    """One HTTP/2 connection. `call` puts calls on a heap that `flush` sends; `pump` gives the calls that ended.

    Args:
        address: (host, port).
        headers: of every call, beside the path.
        paths: of the methods, called by their place in this list.
        keeps: whether the owner wants the answers' bytes.

    Raises:
        OSError: nobody listens, or it is no HTTP/2 server.
    """

    def __init__(
        self, address: tuple[str, int], headers: Sequence[tuple[str, str]], paths: Sequence[str], *, keeps: bool
    ):
        self.keeps = keeps
        self.open_calls: dict[int, Any] = {}  # stream -> tag
        self.is_closing = False  # it takes no more calls
        self._headers, self._paths = list(headers), list(paths)
        self._rest = b""
        self._out: list[bytes] = []
        self._unsent = b""
        self._stream = 1
        self._waiting: deque[tuple[Any, int, bytes]] = deque()  # for a stream or for the window
        self._streams_max = 0  # until the peer says how many
        self._window = 65_535  # what we may send
        self._stream_window = 65_535
        self._received = 0  # bytes of data since the window was topped up
        self._bodies: dict[int, bytes] = {}
        self._encoder = hpack.Encoder()
        self._blocks: list[bytes] = []
        self._is_table_filled = False
        self._socket = socket.create_connection(address, timeout=CONNECT_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = b"".join(_setting.pack(*one) for one in ((TABLE_SIZE, 0), (ENABLE_PUSH, 0), (WINDOW_SIZE, WINDOW)))
        hello = _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, _word.pack(WINDOW - 65_535))
        self._socket.sendall(PREFACE + hello)
        while not self._streams_max:
            self._read(self._socket.recv(READ_BYTES) or self._hung_up(), [])
        self.flush()
        self._socket.setblocking(False)

    def _hung_up(self) -> bytes:
        raise ConnectionResetError("closed before it was open")

    def fileno(self) -> int:
        """Of the socket, for a selector."""
        return self._socket.fileno()

    @property
    def pending(self) -> int:
        """Calls without an answer, also those not sent yet."""
        return len(self.open_calls) + len(self._waiting)

    def call(self, tag: Any, method: int, body: bytes) -> None:
        """Make a call; it leaves with the next `flush`, or later where the peer's limits are reached."""
        size = len(body) + 5
        if len(self.open_calls) >= self._streams_max or size > self._window or self._waiting:
            self._waiting.append((tag, method, body))
            return
        self._send(tag, method, body, size)

    def _send(self, tag: Any, method: int, body: bytes, size: int) -> None:
        if size > self._stream_window:
            raise ValueError(f"a request of {size} bytes does not fit the peer's window of {self._stream_window}")
        stream = self._stream
        self._stream = stream + 2
        self.open_calls[stream] = tag
        self._window -= size
        block = self._blocks[method] if self._is_table_filled else self._first_block(method)
        number = _word.pack(stream)
        # HEADERS, DATA with END_STREAM, the five bytes before a gRPC message, the message.
        self._out += (
            _word.pack(len(block) << 8 | HEADERS), b"\4", number, block,
            _word.pack(size << 8), b"\1", number, b"\0", _word.pack(size - 5), body,
        )  # fmt: skip

    def _first_block(self, method: int) -> bytes:
        """The header block that fills the peer's table; from then on blocks name what is in it."""
        first = self._encoded(method)
        self._blocks = [self._encoded(place) for place in range(len(self._paths))]
        self._is_table_filled = True
        return first

    def _encoded(self, method: int) -> bytes:
        # The path alone is written out each time: entries of a table that several methods fill would change places.
        path = hpack.NeverIndexedHeaderTuple(":path", self._paths[method])
        fixed = [(":method", "POST"), (":scheme", "http"), (":authority", "bench")]
        return self._encoder.encode([*fixed, path, ("te", "trailers"), *self._headers])

    def flush(self) -> None:
        """Send the heap, in one write where the socket takes it."""
        if not self._out and not self._unsent:
            return
        data = self._unsent + b"".join(self._out)
        self._out.clear()
        try:
            self._unsent = data[self._socket.send(data) :]
        except BlockingIOError:
            self._unsent = data
        except OSError:
            self._unsent = b""  # what was under way is ended by the next read

    def pump(self) -> list[Ended]:
        """Read what has come; return the calls that ended."""
        ended: list[Ended] = []
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return ended
        except OSError:
            data = b""
        if data:
            self._read(data, ended)
        else:
            self._lose(ended)
        return ended

    def _read(self, data: bytes, ended: list[Ended]) -> None:
        if self._rest:
            data = self._rest + data
        place, end = 0, len(data)
        keeps, open_calls, bodies, unpack = self.keeps, self.open_calls, self._bodies, _head.unpack_from
        while end - place >= 9:
            first, flags, stream = unpack(data, place)
            start = place + 9
            until = start + (first >> 8)
            if until > end:
                break
            kind = first & 255
            if kind == HEADERS:
                if flags & END_STREAM:
                    tag = open_calls.pop(stream, None)
                    if tag is not None:
                        body = bodies.pop(stream, b"") if keeps else b""
                        ended.append((tag, _ending(data[start:until], flags), body))
            elif kind == DATA:
                self._received += until - start
                if keeps:
                    bodies[stream] = bodies.get(stream, b"") + data[start:until]
                if flags & END_STREAM:
                    self._fail(stream, "NO_STATUS", ended)
            else:
                self._control(kind, flags, stream, data[start:until], ended)
            place = until
        self._rest = data[place:]
        if self._received > TOP_UP_AT:
            self._out.append(_frame(WINDOW_UPDATE, 0, 0, _word.pack(self._received)))
            self._received = 0
        if self._waiting:
            self._send_waiting()

    def _control(self, kind: int, flags: int, stream: int, body: bytes, ended: list[Ended]) -> None:
        if kind == SETTINGS and not flags & ACK:
            self._take_settings(dict(_setting.iter_unpack(body)))
        elif kind == PING and not flags & ACK:
            self._out.append(_frame(PING, ACK, 0, body))
        elif kind == WINDOW_UPDATE and stream == 0:
            self._window += _word.unpack(body)[0]
        elif kind == RST_STREAM:
            self._fail(stream, f"RST_STREAM_{_word.unpack(body)[0]}", ended)
        elif kind == GOAWAY:
            last = _word.unpack_from(body)[0]
            for late in [one for one in self.open_calls if one > last]:
                self._fail(late, "GOAWAY", ended)
            ended += [(tag, "GOAWAY", b"") for tag, _, _ in self._waiting]
            self._waiting.clear()
            self.is_closing = True
        elif kind == CONTINUATION:
            raise ValueError("a header block in several frames: none of ours is so long")

    def _take_settings(self, settings: dict[int, int]) -> None:
        self._streams_max = settings.get(CONCURRENT_STREAMS_MAX, self._streams_max or UNLIMITED)
        self._stream_window = settings.get(WINDOW_SIZE, self._stream_window)
        if not self._is_table_filled:
            self._encoder.header_table_size = min(settings.get(TABLE_SIZE, TABLE_BYTES), TABLE_BYTES)
        self._out.append(_frame(SETTINGS, ACK, 0, b""))

    def _send_waiting(self) -> None:
        while self._waiting and len(self.open_calls) < self._streams_max:
            tag, method, body = self._waiting[0]
            if len(body) + 5 > self._window:
                return
            self._waiting.popleft()
            self._send(tag, method, body, len(body) + 5)

    def _fail(self, stream: int, why: str, ended: list[Ended]) -> None:
        tag = self.open_calls.pop(stream, None)
        self._bodies.pop(stream, None)
        if tag is not None:
            ended.append((tag, why, b""))

    def _lose(self, ended: list[Ended]) -> None:
        self.is_closing = True
        tags = [*self.open_calls.values(), *(tag for tag, _, _ in self._waiting)]
        self.open_calls.clear()
        self._waiting.clear()
        ended += [(tag, "CONNECTION_LOST", b"") for tag in tags]

    def close(self) -> None:
        """Hang up."""
        self.is_closing = True
        self._socket.close()


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return _head.pack(len(body) << 8 | kind, flags, stream) + body


_endings: dict[bytes, str] = {}  # trailers are few, whatever the answers


def _ending(block: bytes, flags: int) -> str:
    """OK, or the reason of a refusal; the code's name where it has none of ours, or the HTTP status."""
    known = _endings.get(block)
    if known is None:
        if flags & (PADDED | PRIORITY) or not flags & END_HEADERS:
            raise ValueError("trailers that are padded or cut: no server of ours sends such")
        known = reason_of({str(name): str(value) for name, value in hpack.Decoder().decode(block)})
        if len(_endings) > ENDINGS_KEPT:
            _endings.clear()
        _endings[block] = known
    return known


def reason_of(trailers: dict[str, str]) -> str:
    """What trailers say: OK, "CODE/REASON", "CODE: message", or "HTTP_503" where they are not gRPC's."""
    code = trailers.get("grpc-status")
    if code is None:
        return f"HTTP_{trailers.get(':status', 'WITHOUT_STATUS')}"
    if code == "0":
        return OK
    name = code_pb2.Code.Name(int(code)) if code.isdecimal() and int(code) in code_pb2.Code.values() else code
    details = trailers.get("grpc-status-details-bin", "")
    try:
        status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    except (binascii.Error, DecodeError):
        return name
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return f"{name}/{info.reason}"
    message = unquote(trailers.get("grpc-message", ""))
    return f"{name}: {message[:80]}" if message else name
