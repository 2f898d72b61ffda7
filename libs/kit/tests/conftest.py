"""A database with kit's tables: that of loms, which has them as every service has."""

import pytest

from kit.db import Database
from kit.testing import OpenDatabase


@pytest.fixture
async def db(open_database: OpenDatabase) -> Database:
    return await open_database("loms")
