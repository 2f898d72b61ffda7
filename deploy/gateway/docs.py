"""The documents of the shop's doors, and a page to read and to try them: /docs, /openapi.json, /asyncapi.json.

The page is Swagger UI out of its package, so it needs nothing from elsewhere. Envoy answers all of it from files that
lie beside its configuration.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from deploy.gateway.direct import direct, method, refusal
from deploy.gateway.xds import NOTHING_ASKED

FILE_BYTES_MAX = 4 * 1024 * 1024

_API = Path(__file__).parents[2] / "api"
_PAGE = Path(__file__).with_name("page")
_DOCUMENTS = ("openapi.json", "asyncapi.json")
_OF_SWAGGER_UI = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".json": "application/json",
}
# Only what lies here; the page shows pictures that routes answered (blob:) and its own signs (data:).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def files() -> dict[str, bytes]:
    """Return all files by name: of the page, of Swagger UI and the two documents."""
    of_swagger_ui = resources.files("swagger_ui") / "static"
    assets = {name: (of_swagger_ui / name).read_bytes() for name in _OF_SWAGGER_UI}
    assets["start.js"] = (_PAGE / "start.js").read_bytes()
    # An asset's address changes with its content, so it may be kept for good.
    addresses = {
        name.replace("-", "_").replace(".", "_"): f"/docs/{name}?{hashlib.sha256(content).hexdigest()[:12]}"
        for name, content in assets.items()
    }
    page = Template((_PAGE / "docs.html").read_text()).substitute(addresses)
    documents = {name: (_API / name).read_bytes() for name in _DOCUMENTS}
    return {"docs.html": page.encode(), **assets, **documents}


def routes(folder: Path) -> Iterator[dict[str, Any]]:
    """Give the routes of `files`, which lie in this folder when Envoy reads its configuration."""
    for name in files():
        path = {"path": "/docs" if name == "docs.html" else f"/{name}" if name in _DOCUMENTS else f"/docs/{name}"}
        headers = {
            "content_type": _TYPES[Path(name).suffix],
            "cache_control": "no-cache"
            if name in ("docs.html", *_DOCUMENTS)
            else "public, max-age=31536000, immutable",
            "content_security_policy": _POLICY,
            "x_content_type_options": "nosniff",
            "referrer_policy": "no-referrer",
        }
        for verb in ("GET", "HEAD"):
            yield direct({**path, "headers": [method(verb)]}, 200, {"filename": str(folder / name)}, **headers)
        yield refusal(path, 405, allow="GET, HEAD")
    yield {
        "match": {"path": "/docs/"},
        "redirect": {"path_redirect": "/docs"},
        "typed_per_filter_config": NOTHING_ASKED,
    }
