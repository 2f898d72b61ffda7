"""Requests that no client of ours would send: every door answers them by name, and stays open."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from deploy.native import stack
from deploy.native.keys import LOCAL
from kit.calls import access_of
from kit.client import service_of
from tests.access.people import person, service
from tests.access.samples import rpcs, sample
from tests.callers import reason_of
from tests.sizes import SIZES

AT_ONCE = 12  # identity lets 17 wait for a hash
OUR_FAULT = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
NOT_LET_IN = {"TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "NOT_ALLOWED", "OVERLOADED"}
EACH = pytest.mark.parametrize("rpc", list(rpcs()), ids=lambda rpc: rpc.full_name.removeprefix("abacus."))

NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))
TEXTS = (
    "", "\x00", "a\x00b", "'; DROP TABLE users; --", "%s%n{0}", "../../etc/passwd", "\u202e\u2066", "😀" * 64,
    "ß" * 64,
    "I\u0307ı", "a@b", "a@" + "b" * 300, "ann@xn--80ak6aa92e.com", "+", "+7", "+79", "8 (900) 123-45-67", "NaN",
    "\ud7ff",
    "x" * 127, "x" * 5_000, "٣٤٥", "\r\nBcc: x@y.z", "eyJhbGciOiJub25lIn0.e30.", "00000000-0000-0000-0000-000000000000",
)  # fmt: skip


def bent(request: Message, dice: random.Random) -> bytes:
    """The request with one to three fields that are strange, in bytes that are right."""
    for _ in range(dice.randint(1, 3)):
        field = dice.choice(list(request.DESCRIPTOR.fields) or [None])
        if field is not None:
            _bend(request, field, dice)
    return request.SerializeToString()


def _bend(message: Message, field: FieldDescriptor, dice: random.Random) -> None:
    if dice.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)[dice.choice(TEXTS)] = dice.choice(TEXTS)
    elif field.message_type is not None:
        many = getattr(message, field.name)
        if field.is_repeated and dice.random() < 0.5:
            many.add()
        elif part := (dice.choice(many) if field.is_repeated and many else None):
            _bend(part, dice.choice(list(part.DESCRIPTOR.fields)), dice)
    else:
        value = _strange(field, dice)
        if field.is_repeated:
            getattr(message, field.name).extend([value] * dice.choice((1, 2, 1001)))
        else:
            setattr(message, field.name, value)


def _strange(field: FieldDescriptor, dice: random.Random) -> object:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return dice.choice(TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return dice.random() < 0.5
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return dice.choice((0, 1, 2, 99, -1, 2**31 - 1))
    low, high = {
        FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    }[field.cpp_type]
    return min(max(dice.choice(NUMBERS), low), high)


def torn(body: bytes, dice: random.Random) -> bytes:
    """The bytes of a request, cut, doubled, flipped or replaced."""
    whole = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(whole))
        how = dice.randrange(5)
        if how == 0:
            del whole[at : at + dice.randint(1, 8)]
        elif how == 1:
            whole[at:at] = dice.randbytes(dice.randint(1, 8))
        elif how == 2:
            whole[at:at] = whole[max(0, at - 16) : at]
        elif how == 3 and at < len(whole):
            whole[at] ^= 1 << dice.randrange(8)
        else:
            whole[at:at] = b"\xff" * dice.randint(1, 11)
    return bytes(whole)


@pytest.fixture
async def token(shop: stack.Shop, rpc: MethodDescriptor) -> str:
    """One that the RPC asks for: the developer's own, or that of a person where it admits persons alone."""
    access = access_of(rpc)
    if access.public:
        return ""
    return service(shop, LOCAL).token if LOCAL in access.services else (await person(shop, "mutant")).token


@EACH
async def test_no_request_breaks_a_door(
    shop: stack.Shop, lenient: str, token: str, rpc: MethodDescriptor, figure: Callable[[str], None]
) -> None:
    """Half of them strange, half of them torn: each gets in and is answered, none as our fault; the process lives."""
    name = service_of(rpc.full_name)
    process = shop["identity-lenient" if name == "identity" else name]
    pid = process.pid
    metadata = [("authorization", f"Bearer {token}")] if token else []
    dice = random.Random(rpc.full_name)
    bodies = [
        bent(sample(rpc), dice) if number % 2 else torn(sample(rpc).SerializeToString(), dice)
        for number in range(SIZES.mutations)
    ]
    codes: Counter[grpc.StatusCode] = Counter()
    broken: list[tuple[bytes, str]] = []
    async with grpc.aio.insecure_channel(lenient if name == "identity" else shop.address(name)) as channel:
        ask = channel.unary_unary(f"/{rpc.containing_service.full_name}/{rpc.name}")

        async def lane(mine: list[bytes]) -> None:
            for body in mine:
                try:
                    await ask(body, metadata=metadata, timeout=30)
                    codes[grpc.StatusCode.OK] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code()] += 1
                    if error.code() in OUR_FAULT or reason_of(error) in NOT_LET_IN:
                        broken.append((body, str(error.details())))

        async with asyncio.TaskGroup() as lanes:
            for start in range(AT_ONCE):
                lanes.create_task(lane(bodies[start::AT_ONCE]))
    assert [] == broken
    assert SIZES.mutations == codes.total()
    assert (pid, 0) == (process.pid, process.restarts)
    assert await process.healthy()
    figure(f"{rpc.name}: " + ", ".join(f"{count} {code.name}" for code, count in codes.most_common()))
