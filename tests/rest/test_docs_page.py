"""/docs in a real browser: it says what the document says, and its calls reach the shop."""

import json
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, async_playwright, expect

# Without them the browser asks its maker's hosts at every start.
FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
MISSING = "no Chromium here: apt-get install chromium (Debian), or a program of that name on the path"


def _chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.environ.get("CI"):
        pytest.fail(MISSING)
    pytest.skip(MISSING)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of a fresh browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=_chromium(),
            args=[*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])],  # root has no sandbox
        )
        yield await browser.new_page(viewport={"width": 1280, "height": 1600})
        await browser.close()


async def _register(address: str) -> tuple[str, str]:
    """An account made by REST: its e-mail address and a token."""
    email = f"{uuid.uuid4().hex}@mail.example"
    account = {"firstName": "Ann", "lastName": "Lee", "email": email, "password": "correct horse battery staple"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"http://{address}/api/v1/auth/register/email", json=account) as answer,
    ):
        assert 200 == answer.status, await answer.text()
        return email, (await answer.json())["accessToken"]


async def _execute(page: Page, tag: str, operation: str, body: dict[str, Any] | None = None) -> Any:
    """Open an operation, fill in a body if one is given, execute it; return the body of its answer, which is a 200."""
    block = page.locator(f"#operations-{tag}-{operation}")
    await block.locator(".opblock-summary-control").click()
    if body is not None:
        await block.locator("textarea.body-param__text").fill(json.dumps(body))
    await block.locator("button.execute").click()
    answer = block.locator(".live-responses-table tbody tr.response")
    await expect(answer.locator(".response-col_status")).to_contain_text("200")
    text = await answer.locator(".response-col_description .highlight-code pre").first.inner_text()
    await block.locator(".opblock-summary-control").click()
    return json.loads(text)


async def test_try_it_out(seeded, page: Page) -> None:
    """Authorize, then Execute, on public and private routes, gives the answers of the shop; only the shop is asked."""
    shop = f"http://{seeded.address('gateway')}"
    complaints: list[str] = []
    elsewhere: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith((f"{shop}/", "data:", "blob:")) else elsewhere.append(asked.url),
    )
    email, token = await _register(seeded.address("gateway"))

    await page.goto(f"{shop}/docs")
    await expect(page.locator(".opblock-summary-control").first).to_be_visible()
    await page.locator("button.authorize").first.click()
    await page.locator(".auth-container input").fill(token)
    await page.locator(".auth-btn-wrapper button[type=submit]").click()
    await page.locator(".auth-btn-wrapper button.btn-done").click()

    me = await _execute(page, "identity", "getMe")
    assert (email, "Ann") == (me["email"], me["firstName"])
    products = await _execute(page, "catalog", "listProducts")
    assert 1001 in [product["id"] for product in products["products"]]
    assert {} == await _execute(page, "checkout", "addToCart", {"sku": 1001, "count": 2})
    cart = await _execute(page, "checkout", "listCart")
    assert [(1001, 2)] == [(item["sku"], item["count"]) for item in cart["items"]]
    wanted = {"productId": 1001, "country": "Россия", "region": "Москва", "city": "Москва", "street": "Арбат, 1"}
    order = await _execute(page, "checkout", "placeOrder", wanted)
    assert ("ORDER_STATUS_NEW", 1) == (order["status"], order["items"][0]["quantity"])
    tokens = await _execute(
        page, "identity", "loginByEmail", {"email": email, "password": "correct horse battery staple"}
    )
    assert me["id"] == tokens["userId"]

    assert [] == complaints
    assert [] == elsewhere


async def test_every_operation_is_there(seeded, page: Page) -> None:
    """The page has a block for each operation of the document, and no example fails to show."""
    shop = f"http://{seeded.address('gateway')}"
    await page.goto(f"{shop}/docs")
    await expect(page.locator(".opblock-summary-control").first).to_be_visible()
    async with aiohttp.ClientSession() as http, http.get(f"{shop}/openapi.json") as answer:
        document = await answer.json()
    wanted = {
        f"operations-{operation['tags'][0]}-{operation['operationId']}"
        for path in document["paths"].values()
        for operation in path.values()
    }
    shown = await page.locator(".opblock").evaluate_all("blocks => blocks.map(block => block.id)")
    assert wanted == set(shown)
