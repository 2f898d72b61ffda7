"""What the document says of a request's fields, parameters and headers is what the door takes, and nothing more."""

from typing import Any

import pytest

LOGIN = "/api/v1/auth/login/email"
JSON = {"content-type": "application/json"}
INVALID, NOT_FOUND = 3, 5  # google.rpc.Code

STRICT = {
    "/api/v1/orders": {  # PlaceOrder: user int64, product_id uint32, items, request_id
        "user": (["17", 17, "-1", None], ["1e1", " 17", "017", "+17", "0x11", "", "17.0", True, [17]]),
        "productId": ([1001, 0, None], ["1001", 1.5, True, 4294967296, -1, {}]),
        "items": ([[{"productId": 1, "quantity": 2}], [], None], [{}, [None], [1], [{"productId": "1"}], [{"sku": 1}]]),
        "country": (["RU", "", None], [7, True, [], {}]),
    },
    "/api/v1/notifications/send": {  # channel enum, variables map<string, string>
        "channel": (["CHANNEL_EMAIL", "CHANNEL_UNSPECIFIED", None], ["channel_email", "CHANNEL_FAX", "1", 1, True, ""]),
        "variables": ([{"name": "Ann", "x": ""}, {}, None], [[], "x", {"name": 1}, {"name": None}, {"name": {}}, 5]),
    },
}


@pytest.mark.parametrize(
    ("path", "field", "value", "is_fine"),
    [
        (path, field, value, is_fine)
        for path, fields in STRICT.items()
        for field, (fine, wrong) in fields.items()
        for is_fine, values in ((True, fine), (False, wrong))
        for value in values
    ],
)
async def test_strict_body(gateway, shop, issuer, path: str, field: str, value: Any, is_fine: bool) -> None:
    """A value is of its field's type as the document says it, or it is refused; null is what is left out."""
    answer = await gateway.call("POST", path, json={field: value}, token=issuer.person())
    if is_fine:
        assert 200 == answer.status, answer.raw
        return
    details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert details["BadRequest"]["fieldViolations"][0]["field"].startswith(field)
    assert not shop.seen


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("attributes=color:black&attributes=size:xl", ""),
        ("minPrice=0&maxPrice=9223372036854775807&pageSize=5&facets=true&discounted=false", ""),
        ("query=red+bicycle&language=", ""),
        ("sort=PRODUCT_SORT_NEWEST", ""),
        ("&query=a&", ""),
        ("minPrice=1e3", "minPrice"),
        ("minPrice=9223372036854775808", "minPrice"),
        ("minPrice=%201", "minPrice"),
        ("pageSize=", "pageSize"),
        ("pageSize=1.0", "pageSize"),
        ("pageSize=007", "pageSize"),
        ("pageSize=2147483648", "pageSize"),
        ("facets=1", "facets"),
        ("facets=True", "facets"),
        ("facets", "facets"),
        ("sort=1", "sort"),
        ("sort=product_sort_newest", "sort"),
        ("pageSize=1&pageSize=2", "pageSize"),
        ("pageSize=1&page_size=1", "page_size"),
        ("query=%FF", "query"),
        ("query=%2", "query"),
        ("attributes[]=color:black", "attributes[]"),
    ],
)
async def test_strict_query(gateway, shop, query: str, refused: str) -> None:
    """Parameters of the query are as strict; only those that are lists may come twice."""
    answer = await gateway.call("GET", f"/api/v1/products?{query}")
    if not refused:
        assert 200 == answer.status, answer.raw
        return
    details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert refused == details["BadRequest"]["fieldViolations"][0]["field"]
    assert not shop.seen


async def test_query_arrives(gateway, shop) -> None:
    """Lists in their order, spaces as a plus or by their code, letters of any language."""
    await gateway.call("GET", "/api/v1/products?attributes=a:1&query=red+%2B%20%D1%91&attributes=b:2&facets=true")
    assert (["a:1", "b:2"], "red + ё", True) == (shop.request.attributes, shop.request.query, shop.request.facets)
    await gateway.call("GET", "/api/v1/stocks?productIds=5&productIds=4294967295&product_ids=1")
    assert [5, 4294967295, 1] == shop.request.product_ids


@pytest.mark.parametrize("number", ["0x10", "%2017", "+17", "1e1", "17.0", "017", "", "4294967296", "-1", "secret"])
async def test_strict_path(gateway, shop, number: str) -> None:
    """A number in the path is digits and nothing else."""
    answer = await gateway.call("GET", f"/api/v1/products/{number}/price")
    if not number:
        answer.is_error(404, NOT_FOUND, "ROUTE_NOT_FOUND")
        return
    details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert "productId" == details["BadRequest"]["fieldViolations"][0]["field"]
    assert not shop.seen


async def test_number_in_the_path_arrives(gateway, shop, issuer) -> None:
    """Unsigned numbers of 32 bits and signed ones of 64 reach the request."""
    await gateway.call("GET", "/api/v1/products/4294967295")
    assert 4294967295 == shop.request.product_id
    await gateway.call("GET", "/api/v1/orders/9223372036854775807", token=issuer.person())
    assert 9223372036854775807 == shop.request.order_id


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"firstName": "a", "firstName": "b"}', "firstName"),
        ('{"firstName": "a", "first_name": "b"}', "first_name"),
        ('{"id": 1.}', "id"),
        ('{"id": .5}', "id"),
        ('{"id": 0x1}', "id"),
        ('{"id": -}', "id"),
        ('{"id": NaN}', "id"),
        ('{"firstName": True}', "firstName"),
    ],
)
async def test_twice_and_not_json(gateway, shop, issuer, body: str, field: str) -> None:
    """A field given twice, by either name, is refused: readers disagree which counts. Numbers are JSON's."""
    answer = await gateway.call("PATCH", "/api/v1/users/me", data=body.encode(), headers=JSON, token=issuer.person())
    details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
    assert field == details["BadRequest"]["fieldViolations"][0]["field"]
    assert not shop.seen


async def test_headers_are_ascii(gateway, shop) -> None:
    """Of what we read in headers only ASCII is taken; other headers go no further where they have more."""
    odd = b"\xd1\x91".decode("utf-8", "surrogateescape")
    for name in ("accept-language", "idempotency-key"):
        details = (await gateway.call("POST", LOGIN, json={}, headers={name: odd})).is_error(
            400, INVALID, "MALFORMED_REQUEST"
        )
        assert name == details["BadRequest"]["fieldViolations"][0]["field"]
    assert not shop.seen
    answer = await gateway.call("POST", LOGIN, json={}, headers={"x-name": odd, "x-other": "fine", "cookie": odd})
    assert 200 == answer.status
    assert "fine" == shop.metadata["x-other"]
    assert not {"x-name", "cookie"} & set(shop.metadata)


async def test_idempotency_keys_have_a_length(gateway, shop, issuer) -> None:
    """A key without a character is a mistake, not the absence of a key; one that is too long is named as the header."""
    for key, status in (("", 400), ("k" * 65, 400), ("k" * 64, 200)):
        answer = await gateway.call(
            "POST", "/api/v1/orders", json={}, headers={"idempotency-key": key}, token=issuer.person()
        )
        assert status == answer.status
        if status == 400:
            details = answer.is_error(400, INVALID, "MALFORMED_REQUEST")
            assert "idempotency-key" == details["BadRequest"]["fieldViolations"][0]["field"]
    assert "k" * 64 == shop.metadata["idempotency-key"]
    assert 1 == len(shop.seen)
