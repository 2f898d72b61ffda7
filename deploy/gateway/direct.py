"""Routes that Envoy answers by itself, and nothing stands behind."""

import re
from collections.abc import Iterator
from typing import Any

from deploy.gateway.xds import NOTHING_ASKED, header

# Routes of seed 001 that have no RPC yet, in its words; they go from here when they have one.
NOT_YET = {
    "/api/v1/orders/{orderId}/pay": "POST",
    "/api/v1/orders/{orderId}/payment-status": "POST",
    "/api/v1/payments": "POST",
    "/api/v1/payments/{paymentId}": "GET",
    "/api/v1/payments/{paymentId}/notify": "POST",
    "/api/v1/refunds": "POST",
    "/api/v1/refunds/{refundId}": "GET",
}


def not_yet() -> Iterator[dict[str, Any]]:
    """Give the routes of NOT_YET."""
    for template, verb in NOT_YET.items():
        path = {"safe_regex": {"regex": re.sub("{[^}]+}", "[^/]+", template)}}
        yield refusal({**path, "headers": [method(verb)]}, 501)
        yield refusal(path, 405, allow=verb)


def live() -> dict[str, Any]:
    """Return the route that says that the gateway itself runs, whatever stands behind it."""
    return direct(
        {"path": "/health/live"}, 200, {"inline_string": '{"status":"SERVING"}'}, content_type="application/json"
    )


def refusal(match: dict[str, Any], status: int, **headers: str) -> dict[str, Any]:
    """Return a route that is answered by an error, in the words of replies.py."""
    return direct(match, status, None, **headers)


def direct(match: dict[str, Any], status: int, body: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
    """Return a route that is answered by this body (inline_string or filename) and these headers."""
    # The CORS filter passes over routes that lead nowhere; a page may well read what is the same for everybody.
    headers |= {"access_control_allow_origin": "*"}
    return {
        "match": match,
        "direct_response": {"status": status, **({"body": body} if body else {})},
        "response_headers_to_add": [header(name.replace("_", "-"), value) for name, value in headers.items()],
        "typed_per_filter_config": NOTHING_ASKED,
    }


def method(verb: str) -> dict[str, Any]:
    """Return what matches requests of this method."""
    return {"name": ":method", "string_match": {"exact": verb}}
