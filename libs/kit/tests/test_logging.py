"""What the log says of a failure, and what it must not."""

import asyncpg
import pytest
import structlog

from kit import logging


@pytest.fixture
def configured():
    logging.configure("test", "info")
    yield structlog.get_logger()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


async def test_no_row_is_quoted(configured, db, capsys):
    """A constraint that refuses a row is named, also within a group of failures; the row stays out of the log."""
    await db.pool.execute("CREATE TABLE people (phone text CHECK (phone <> '+15550001122'))")
    with pytest.raises(asyncpg.CheckViolationError, match="15550001122") as refused:
        await db.pool.execute("INSERT INTO people VALUES ('+15550001122')")
    configured.error("failed", exc_info=refused.value)
    configured.error("failed too", exc_info=ExceptionGroup("several", [ExceptionGroup("inner", [refused.value])]))
    said = capsys.readouterr().out
    assert 2 <= said.count("people_phone_check")
    assert "+15550001122" not in said
