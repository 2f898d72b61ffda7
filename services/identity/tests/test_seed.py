"""The customers of a new shop."""

import json

import pytest

from deploy.seed import customers
from identity import seed
from identity.tests.conftest import OTHER_PASSWORD


async def rows(house):
    return [dict(row) for row in await house.db.pool.fetch("SELECT * FROM users ORDER BY id")]


async def test_seed_customers_are_known_and_told(house):
    """Under their ids, with a contact each and no welcome; a second load changes nothing, not even a changed name."""
    assert {"users_added": 10} == await seed.load(house.db, customers())
    contacts = [json.loads(payload) for _, payload in await house.events("abacus.identity.contact.v1")]
    wanted = [{**customer, "username": str(customer["user_id"])} for customer in customers()]
    assert [[str(value) for value in customer.values()] for customer in wanted] == [
        [str(it[key]) for key in ("userId", "username", "firstName", "lastName", "email", "phone", "language")]
        for it in contacts
    ]
    assert [] == await house.events("abacus.identity.registration.v1")
    await house.db.pool.execute("UPDATE users SET first_name = 'Anya' WHERE id = 1")
    before = await rows(house)
    assert {"users_added": 0} == await seed.load(house.db, customers())
    assert before == await rows(house)
    assert 10 == len(await house.events("abacus.identity.contact.v1"))


@pytest.mark.parametrize("registered", [0, 1])
async def test_new_accounts_get_ids_above(house, registered):
    """Also when somebody was here before: theirs is not touched, and the seed customer of that id is left out."""
    if registered:
        assert 1 == (await house.register("early@example.com")).user_id
    assert {"users_added": 10 - registered} == await seed.load(house.db, customers())
    assert 11 == (await house.register()).user_id
    assert {"users_added": 0} == await seed.load(house.db, customers())
    assert 12 == (await house.register("ben@example.com")).user_id


async def test_an_early_account_keeps_its_address(house):
    """A seed customer whose address somebody has is left out."""
    await house.register(customers()[4]["email"].upper())
    await seed.load(house.db, customers())
    assert [1, 2, 3, 4, 6, 7, 8, 9, 10] == [row["id"] for row in await rows(house)]


async def test_a_seed_customer_gets_in_by_a_reset(house):
    """They have no password until they ask for a token."""
    await seed.load(house.db, customers())
    await house.ask_reset(email=customers()[2]["email"])
    await house.reset(await house.code())
    tokens = await house.login(customers()[2]["email"], OTHER_PASSWORD)
    assert 3 == tokens.user_id


@pytest.mark.parametrize(
    "wrong",
    [{"user_id": 0}, {"email": "anna"}, {"phone": "12"}, {"language": "de"}, {"colour": "red"}],
)
async def test_a_wrong_row_loads_nothing(house, wrong):
    """The row is named, and those before it are not loaded either."""
    first, second = customers()[:2]
    with pytest.raises(ValueError, match="customer 2"):
        await seed.load(house.db, [first, {**second, **wrong}])
    assert [] == await rows(house)
