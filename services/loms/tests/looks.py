"""What tests ask of the database behind the door."""

from tests.audit import audit

DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def waiting(db):
    """How many sessions wait for a lock."""
    return await db.pool.fetchval(
        """
        SELECT count(*)
          FROM pg_stat_activity
         WHERE datname = current_database()
           AND wait_event_type = 'Lock'
        """
    )


async def audit_of(loms):
    """Check all that must always hold."""
    async with loms.db.pool.acquire() as conn:
        await audit(conn)
