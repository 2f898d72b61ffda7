"""A process that is killed while it sends: nothing is lost, and only what was on its way comes twice."""

import asyncio

from notifications import __main__ as program
from notifications.sending import LANES
from notifications.tests.conftest import change, contact

MESSAGES = 300
KILLS = 3


async def _started(desk):
    return await desk.started("workers", kafka="127.0.0.1:1")  # away: what is recorded goes out all the same


async def _until_more_than(desk, count):
    async with asyncio.timeout(60):
        while desk.box.count() <= count:  # noqa: ASYNC110  # they come by wire
            await asyncio.sleep(0.01)


async def test_kill_9_while_sending(desk):
    """Every customer gets each message; of each kill at most one message a connection is a repeat."""
    await desk.tell(contact(), *(change(order=order) for order in range(1, MESSAGES + 1)))
    for kill in range(KILLS):
        process = await _started(desk)
        await _until_more_than(desk, 20 + kill * 50)
        process.kill()
        await process.wait()
        await desk.make_due()  # the leases of the dead end
    process = await _started(desk)
    async with asyncio.timeout(60):
        while (await program.status(desk.db))["messages_queued"]:  # noqa: ASYNC110  # another process marks them
            await asyncio.sleep(0.05)
    process.terminate()
    assert 0 == await process.wait()
    assert {"sent"} == {row["status"] for row in await desk.rows()}
    assert set(range(1, MESSAGES + 1)) == {
        int(message.subject.removeprefix("Заказ № ").removesuffix(" ждёт оплаты")) for message in desk.box.newest()
    }
    repeats = sum(message.repeats for message in desk.box.newest())
    assert repeats <= KILLS * LANES
