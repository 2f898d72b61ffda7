"""What administrators do to accounts."""

import asyncio

import pytest
from grpc import StatusCode

from abacus.identity.v1 import identity_pb2
from identity import seed, users
from identity.tests.conftest import EMAIL, PHONE, developer, person
from kit.testing import refused, until

ADMIN, CUSTOMER = identity_pb2.ROLE_ADMIN, identity_pb2.ROLE_CUSTOMER


async def listed(house, *, by=None, **asked):
    """Ids, all pages."""
    ids, token = [], ""
    while True:
        answer = await house.stub.ListUsers(
            identity_pb2.ListUsersRequest(**asked, page_token=token), metadata=by or developer()
        )
        ids += [user.id for user in answer.users]
        token = answer.next_page_token
        if not token:
            return ids


async def disable(house, user_id, by=None):
    asked = identity_pb2.DisableUserRequest(user_id=user_id, reason="chargebacks")
    await house.stub.DisableUser(asked, metadata=by or developer())


async def enable(house, user_id, by=None):
    await house.stub.EnableUser(identity_pb2.EnableUserRequest(user_id=user_id), metadata=by or developer())


async def set_roles(house, user_id, *roles, by=None):
    asked = identity_pb2.SetUserRolesRequest(user_id=user_id, roles=roles)
    await house.stub.SetUserRoles(asked, metadata=by or developer())


async def shown(house, user_id, by=None):
    asked = identity_pb2.GetUserRequest(user_id=user_id)
    return (await house.stub.GetUser(asked, metadata=by or developer())).user


async def an_admin(house, email=EMAIL):
    """An administrator's tokens, and the header of who has them."""
    tokens = await house.register(email)
    await set_roles(house, tokens.user_id, CUSTOMER, ADMIN)
    return tokens, person(tokens, "admin", "customer")


@pytest.fixture
async def people(house):
    """Some accounts, made as seed data makes them: no hashes are needed."""
    rows = [
        ("Анна-Мария", "Иванова", "anna@example.com", "+79000000001"),
        ("Ben", "O'Neil", "ben@example.com", "+15551234567"),
        ("Пётр", "Ёлкин", None, "+79000000003"),
        ("Anna", "Bell\\", "bell@shop.example", None),
        ("50%", "_ & | ! :*", "odd@пример.рф", None),
    ]
    await seed.load(
        house.db,
        [
            {"user_id": number, "first_name": first, "last_name": last, "email": email or "", "phone": phone or ""}
            for number, (first, last, email, phone) in enumerate(rows, start=1)
        ],
    )
    return house


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [5, 4, 3, 2, 1]),
        ("  ", [5, 4, 3, 2, 1]),
        ("анна", [1]),
        ("АННА-МАР", [1]),
        ("мария иван", [1]),
        ("иван мария", [1]),
        ("anna", [4, 1]),
        ("anna bell", [4]),
        ("anna ben", []),
        ("ёлк", [3]),
        ("o'n", [2]),
        ("bell\\", [4]),
        ("BEN@", [2]),
        ("+7 900", [3, 1]),
        ("+7 (900) 000-00-01", [1]),
        ("8 900 000 00 01", [1]),
        ("9000000001", [1]),
        ("8(900)000.00.03", [3]),
        ("900 000", [3, 1]),
        ("пётр 8 900", [3]),
        ("петр", [3]),
        ("елкин", [3]),
        ("+1 (555) 123", [2]),
        ("+8 900", []),
        ("odd@пример.рф", [5]),
        ("ODD@Прим", [5]),
        ("odd@xn--e1", [5]),
        ("+7900", [3, 1]),
        ("+7(900)000-00-03", [3]),
        ("7900", [3, 1]),
        ("1555", [2]),
        ("2", [2]),
        ("1", [2, 1]),
        ("50%", [5]),
        ("%", []),
        ("_", [5]),
        ("& |", [5]),
        (":*", [5]),
        ("!", [5]),
        ("<->", []),
        ("99999999999999999999", []),
        ("' | 'a", []),
        ("\\' \\\\' ''' '", []),
        ("()", []),
        ("٣", []),
    ],
)
async def test_search(people, query, found):
    """All words, each the beginning of a name, of its part, of address or digits; or an id. Nothing is syntax."""
    assert found == await listed(people, query=query)


async def test_filters_and_pages(people):
    """Newest first, each once over all pages, with each filter."""
    await disable(people, 2)
    await disable(people, 4)
    await set_roles(people, 3, CUSTOMER, ADMIN)
    assert [5, 4, 3, 2, 1] == await listed(people, page_size=2)
    assert [4, 2] == await listed(people, disabled=True, page_size=1)
    assert [5, 3, 1] == await listed(people, disabled=False)
    assert [3] == await listed(people, role=ADMIN)
    assert [5, 4, 3, 2, 1] == await listed(people, role=CUSTOMER)
    assert [1] == await listed(people, query="anna", disabled=False)
    with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", field="page_token"):
        await people.stub.ListUsers(identity_pb2.ListUsersRequest(page_token="x"), metadata=developer())


async def test_one_account_is_shown(house):
    """As its owner sees it."""
    tokens = await house.register(phone=PHONE)
    assert await house.me(tokens) == await shown(house, tokens.user_id)


async def test_an_account_is_shut_out_at_once(house):
    """Sessions end, refresh fails, identity refuses the access token; and in again with the password only."""
    tokens = await house.register()
    await house.send()
    await disable(house, tokens.user_id)
    first = (await shown(house, tokens.user_id)).disabled_at
    await disable(house, tokens.user_id)
    assert first == (await shown(house, tokens.user_id)).disabled_at
    with refused(StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID"):
        await house.refresh(tokens)
    with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
        await house.me(tokens)
    with refused(StatusCode.PERMISSION_DENIED, "ACCOUNT_DISABLED"):
        await house.login()
    with refused(StatusCode.INVALID_ARGUMENT, "CODE_INVALID"):
        await house.confirm(await house.code())
    await enable(house, tokens.user_id)
    await enable(house, tokens.user_id)
    assert not (await shown(house, tokens.user_id)).HasField("disabled_at")
    with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
        await house.me(tokens)
    await house.login()


async def test_no_login_slips_through(house):
    """Of logins that race with being shut out none leaves an open session."""
    tokens = await house.register()
    await asyncio.gather(disable(house, tokens.user_id), *(house.login() for _ in range(8)), return_exceptions=True)
    await enable(house, tokens.user_id)
    assert 0 == await house.db.pool.fetchval("SELECT count(*) FROM sessions WHERE ended_at IS NULL")


async def test_roles_count_from_the_next_token_on(house):
    """A refresh brings them."""
    tokens = await house.register()
    await set_roles(house, tokens.user_id, ADMIN, CUSTOMER)
    assert [CUSTOMER, ADMIN] == list((await shown(house, tokens.user_id)).roles)
    assert (await house.refresh(tokens)).user_id == tokens.user_id
    await set_roles(house, tokens.user_id, CUSTOMER)
    assert [CUSTOMER] == list((await shown(house, tokens.user_id)).roles)
    for roles in ((), (CUSTOMER, CUSTOMER), (identity_pb2.ROLE_UNSPECIFIED,), (7,)):
        with refused(StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"):
            await set_roles(house, tokens.user_id, *roles)


async def test_nobody_judges_themselves(house):
    """An administrator neither shuts out, lets in nor promotes their own account."""
    tokens = await house.register()
    me = person(tokens, "admin")
    with refused(StatusCode.FAILED_PRECONDITION, "NOT_ON_YOURSELF"):
        await disable(house, tokens.user_id, by=me)
    with refused(StatusCode.FAILED_PRECONDITION, "NOT_ON_YOURSELF"):
        await set_roles(house, tokens.user_id, CUSTOMER, by=me)
    with refused(StatusCode.FAILED_PRECONDITION, "NOT_ON_YOURSELF"):
        await enable(house, tokens.user_id, by=me)
    await house.me(tokens)


async def test_an_administrator_who_was_shut_out_is_out(house):
    """Their access token is good elsewhere until it expires; here it does nothing any more."""
    tokens, me = await an_admin(house)
    other = await house.register("ben@example.com")
    await listed(house, by=me)
    await disable(house, tokens.user_id)
    for call in (
        listed(house, by=me),
        shown(house, other.user_id, by=me),
        enable(house, other.user_id, by=me),
        disable(house, other.user_id, by=me),
        set_roles(house, other.user_id, ADMIN, by=me),
    ):
        with refused(StatusCode.UNAUTHENTICATED, "SESSION_ENDED"):
            await call
    await house.me(other)


async def test_an_administrator_who_lost_the_role_is_none(house):
    """Though their access token names it until it expires; nor do they learn which accounts there are."""
    tokens, me = await an_admin(house)
    other = await house.register("ben@example.com")
    assert [other.user_id, tokens.user_id] == await listed(house, by=me)
    await set_roles(house, tokens.user_id, CUSTOMER)
    before = await shown(house, other.user_id)
    for call in (
        listed(house, by=me),
        shown(house, other.user_id, by=me),
        shown(house, 404, by=me),
        disable(house, other.user_id, by=me),
        enable(house, other.user_id, by=me),
        set_roles(house, other.user_id, ADMIN, by=me),
        set_roles(house, 404, ADMIN, by=me),
    ):
        with refused(StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"):
            await call
    assert before == await shown(house, other.user_id)
    await house.me(tokens)


@pytest.mark.parametrize("judge", [disable, enable, set_roles])
@pytest.mark.parametrize(
    ("fall", "code", "reason"),
    [
        (lambda house, user: set_roles(house, user, CUSTOMER), StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"),
        (disable, StatusCode.UNAUTHENTICATED, "SESSION_ENDED"),
    ],
)
async def test_a_call_that_waits_is_looked_at_afterwards(house, judge, fall, code, reason):
    """An administrator who falls while their call waits for the account does nothing with it."""
    other = await house.register("ben@example.com")
    tokens, me = await an_admin(house)
    roles = (ADMIN,) if judge is set_roles else ()
    async with house.db.transaction() as conn:
        await users.lock(conn, other.user_id)
        call = asyncio.create_task(judge(house, other.user_id, *roles, by=me))
        await until(house.waiting, 1)
        await fall(house, tokens.user_id)
    with refused(code, reason):
        await call
    after = await shown(house, other.user_id)
    assert ([CUSTOMER], False) == (list(after.roles), after.HasField("disabled_at"))


async def test_of_two_who_demote_each_other_one_is_first(house):
    """The other is no administrator by then; neither waits for the other for ever."""
    (one, by_one), (two, by_two) = await an_admin(house), await an_admin(house, "ben@example.com")
    for _ in range(8):
        results = await asyncio.gather(
            set_roles(house, two.user_id, CUSTOMER, by=by_one),
            set_roles(house, one.user_id, CUSTOMER, by=by_two),
            return_exceptions=True,
        )
        (error,) = [result for result in results if result is not None]
        with refused(StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"):
            raise error
        for tokens in (one, two):
            await set_roles(house, tokens.user_id, ADMIN)


async def test_what_is_not_there(house):
    """USER_NOT_FOUND by each call, with the id."""
    for call in (
        shown(house, 404),
        disable(house, 404),
        enable(house, 404),
        set_roles(house, 404, ADMIN),
    ):
        with refused(StatusCode.NOT_FOUND, "USER_NOT_FOUND") as error:
            await call
        assert {"user_id": "404"} == error.metadata


async def test_customers_do_none_of_it(house):
    """The role is asked for by every call."""
    tokens = await house.register()
    for call in (
        listed(house, by=person(tokens)),
        disable(house, 1, by=person(tokens)),
        enable(house, 1, by=person(tokens)),
        set_roles(house, 1, ADMIN, by=person(tokens)),
    ):
        with refused(StatusCode.PERMISSION_DENIED, "NOT_ALLOWED"):
            await call
