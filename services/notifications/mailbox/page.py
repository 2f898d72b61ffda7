"""The mailbox's web page, and the same as JSON for programs."""

from pathlib import Path

import jinja2
from aiohttp import web

from notifications.mailbox.box import MAX_MESSAGES, Box

PAGE_SIZE = 100
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def app(box: Box) -> web.Application:
    """Build the page.

    GET / (`?to=`, `?page=`), /messages/{id}, /api/messages (`?to=`, `?limit=`), /health; DELETE /api/messages.
    """

    async def listing(request: web.Request) -> web.Response:
        to = request.query.get("to", "")
        number = _number(request, "page", 1, MAX_MESSAGES)
        total = box.count(to=to)
        return _html(
            "list.html",
            messages=box.newest(to=to, skip=(number - 1) * PAGE_SIZE, limit=PAGE_SIZE),
            to=to,
            total=total,
            page=number,
            pages=max(1, -(-total // PAGE_SIZE)),
        )

    async def single(request: web.Request) -> web.Response:
        message = box.get(int(request.match_info["id"]))
        if message is None:
            return _html("missing.html", status=404)
        return _html("message.html", message=message)

    async def api(request: web.Request) -> web.Response:
        to = request.query.get("to", "")
        limit = _number(request, "limit", MAX_MESSAGES, MAX_MESSAGES)
        found = box.newest(to=to, limit=limit)
        return web.json_response({"messages": [message.as_json() for message in found], "total": box.count(to=to)})

    async def clear(request: web.Request) -> web.Response:
        return web.json_response({"deleted": box.clear()})

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    application = web.Application()
    application.router.add_get("/", listing)
    application.router.add_get(r"/messages/{id:\d{1,12}}", single)
    application.router.add_get("/api/messages", api)
    application.router.add_delete("/api/messages", clear)
    application.router.add_get("/health", health)
    return application


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return default
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise web.HTTPBadRequest(text=f"{name} is a number from 1 to {most}")
    return int(text)


def _html(template: str, *, status: int = 200, **values: object) -> web.Response:
    text = _templates.get_template(template).render(**values)
    return web.Response(text=text, content_type="text/html", charset="utf-8", status=status, headers=_HEADERS)
