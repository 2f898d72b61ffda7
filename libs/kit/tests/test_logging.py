"""What the log says of a failure, and what it must not."""

import asyncpg
import pytest
import structlog

from kit import logging


@pytest.fixture
def _unconfigured():
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("_unconfigured")
async def test_no_row_is_quoted(db, capsys):
    """A constraint that refuses a row is named, also within a group of failures; the row stays out of the log."""
    logging.configure("test", "info")  # here, because the log keeps the stdout that it finds
    log = structlog.get_logger()
    await db.pool.execute("CREATE TABLE people (phone text CHECK (phone <> '+15550001122'))")
    with pytest.raises(asyncpg.CheckViolationError, match="15550001122") as refused:
        await db.pool.execute("INSERT INTO people VALUES ('+15550001122')")
    log.error("failed", exc_info=refused.value)
    log.error("failed too", exc_info=ExceptionGroup("several", [ExceptionGroup("inner", [refused.value])]))
    said = capsys.readouterr().out
    assert 2 <= said.count("people_phone_check")
    assert "+15550001122" not in said
