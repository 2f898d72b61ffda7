"""gRPC's bytes, as they come in pieces of any size and as they should not come."""

import gzip
import itertools
import zlib
from urllib.parse import unquote

import pytest
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from kit import wire
from kit.errors import Error
from kit.grpc_door import MAX_MESSAGE_BYTES

PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}


def coming(pieces):
    """What ASGI would give of a request that comes in these pieces."""
    events = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    events[-1]["more_body"] = False

    async def receive():
        return events.pop(0)

    return receive


async def read(pieces, **headers):
    messages = wire.Messages(coming(pieces), headers)
    read = []
    while (message := await messages.next()) is not None:
        read.append(message)
    assert messages.ended
    return read


@given(st.lists(st.binary(max_size=300), max_size=5), st.data())
async def test_messages_come_whole_however_they_are_cut(messages, data):
    """Empty ones too; in one piece, in single bytes, across each other's ends."""
    whole = b"".join(map(wire.frame, messages))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)))) | {0, len(whole)})
    pieces = [whole[start:end] for start, end in itertools.pairwise(cuts)] or [b""]
    assert messages == await read(pieces)


@given(st.binary(max_size=300), st.sampled_from(sorted(PACKERS)))
async def test_a_packed_message_is_unpacked(message, encoding):
    """By gzip, and by what HTTP calls deflate."""
    packed = PACKERS[encoding](message)
    assert [message] == await read([wire.PREFIX.pack(1, len(packed)) + packed], **{"grpc-encoding": encoding})


def packed(message):
    return wire.PREFIX.pack(1, len(message)) + message


@pytest.mark.parametrize(
    ("sent", "encoding", "code"),
    [
        (b"\0\0\0", "identity", code_pb2.INTERNAL),  # cut off in the prefix
        (wire.frame(b"abc")[:-1], "identity", code_pb2.INTERNAL),  # cut off in the message
        (wire.PREFIX.pack(0, MAX_MESSAGE_BYTES + 1), "identity", code_pb2.RESOURCE_EXHAUSTED),  # before it has come
        (packed(gzip.compress(b"abc")), "identity", code_pb2.INTERNAL),
        (packed(b"no gzip"), "gzip", code_pb2.INTERNAL),
        (packed(gzip.compress(b"abc")[:-9]), "gzip", code_pb2.INTERNAL),
        (packed(b"abc"), "snappy", code_pb2.UNIMPLEMENTED),
        (packed(gzip.compress(b"\0" * (MAX_MESSAGE_BYTES + 1))), "gzip", code_pb2.RESOURCE_EXHAUSTED),
    ],
)
async def test_what_is_no_message_is_refused(sent, encoding, code):
    """With the codes that grpcio has for it; what unpacks to too much is not unpacked."""
    with pytest.raises(wire.RefusedError) as refused:
        await read([sent], **{"grpc-encoding": encoding})
    assert code == refused.value.code


async def test_a_client_that_is_gone_says_no_more():
    """Nobody waits for the rest of its message."""

    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(wire.GoneError):
        await wire.Messages(receive, {}).next()


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("2S", 2), ("1500m", 1.5), ("1H", 3600), ("3M", 180), ("250000u", 0.25), ("99999999n", 0.099999999), (None, None)],
)
def test_a_deadline_is_read(told, seconds):
    """In each of the units; None is none."""
    assert pytest.approx(seconds) == wire.timeout_s({"grpc-timeout": told} if told else {})


@pytest.mark.parametrize("told", ["", "5", "5x", "-5S", "123456789S", "1.5S", "٥S"])
def test_a_deadline_that_is_none_is_refused(told):
    """Rather than to run without one."""
    with pytest.raises(wire.RefusedError) as refused:
        wire.timeout_s({"grpc-timeout": told})
    assert code_pb2.INTERNAL == refused.value.code


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_any_sentence_fits_into_a_trailer(message):
    """As printable ASCII without a bare percent sign, from which a client gets it back."""
    sent = dict(wire.status(Error(9, "REASON", message)))[b"grpc-message"].decode()
    assert all(" " <= character <= "~" for character in sent)
    assert message == unquote(sent)
