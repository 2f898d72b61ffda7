"""The page /docs and the documents that it shows: what the gateway answers from files."""

import json
import re

import pytest

from deploy.gateway import docs
from deploy.native.parts import REPO

DOCUMENTS = ("openapi.json", "asyncapi.json")


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_document(gateway, shop, name: str) -> None:
    """Programs of any origin read the documents of the repository, and ask again each time."""
    answer = await gateway.call("GET", f"/{name}", headers={"origin": "https://elsewhere.example"})
    assert 200 == answer.status
    assert (REPO / "api" / name).read_bytes() == answer.raw
    assert "3.1.0" == answer.body.get("openapi", "3.1.0")
    assert ("*", "no-cache") == (answer.headers["access-control-allow-origin"], answer.headers["cache-control"])
    assert not shop.seen


async def test_page(gateway, shop) -> None:
    """The page and all it names come from here, each as what it is; nothing else may run or be asked by it."""
    page = await gateway.call("GET", "/docs")
    assert (200, "text/html; charset=utf-8") == (page.status, page.headers["content-type"])
    assert "no-cache" == page.headers["cache-control"]
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert {"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "connect-src": "'self'"} == {
        name: policy[name] for name in ("default-src", "script-src", "style-src", "connect-src")
    }
    assert "'none'" == policy["frame-ancestors"]
    named = re.findall('(?:src|href)="([^"]*)"', page.raw.decode())
    assert 4 == len(named)
    for address in named:
        answer = await gateway.call("GET", address)
        assert 200 == answer.status, address
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "immutable" in answer.headers["cache-control"]
        assert len(answer.raw) == int(answer.headers["content-length"])
        media_type = answer.headers["content-type"]
        assert media_type.startswith(
            ("text/javascript", "text/css") if address.split("?")[0].endswith(("js", "css")) else "image/png"
        )
    assert not shop.seen


async def test_other_methods(gateway, shop) -> None:
    """HEAD tells what GET would; other methods are refused; with a slash behind it, the page is found, too."""
    for path in ("/docs", "/openapi.json", "/docs/swagger-ui.css"):
        answer = await gateway.call("HEAD", path)
        assert (200, b"") == (answer.status, answer.raw)
        answer = await gateway.call("POST", path, json={})
        answer.is_error(405, 12, "METHOD_NOT_ALLOWED")
        assert "GET, HEAD" == answer.headers["allow"]
    answer = await gateway.call("GET", "/docs/", allow_redirects=False)
    assert 301 == answer.status
    assert answer.headers["location"].endswith("/docs")
    (await gateway.call("GET", "/docs/../envoy.json")).is_error(404, 5, "ROUTE_NOT_FOUND")
    (await gateway.call("GET", "/docs/nothing.js")).is_error(404, 5, "ROUTE_NOT_FOUND")


def test_address_follows_content() -> None:
    """An asset that is kept for good has another address as soon as it is another."""
    page = docs.files()["docs.html"].decode()
    assert "$" not in page
    assert 4 == len(set(re.findall(r"\?([0-9a-f]{12})\"", page)))


def test_files_fit() -> None:
    """Envoy takes no larger body from a file, and would not start."""
    assert docs.FILE_BYTES_MAX > max(map(len, docs.files().values()))
    assert all(json.loads(docs.files()[name]) for name in DOCUMENTS)
