"""Routes: each RPC by its gRPC path and by its REST routes, with what its policy asks of the caller."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from deploy import contracts
from deploy.contracts import Binding
from deploy.gateway import docs
from deploy.gateway.direct import live, not_yet, refusal
from deploy.gateway.xds import (
    JWT,
    NO_SNIFFING,
    NOTHING_ASKED,
    OFF,
    ON,
    REST,
    SIGNIN,
    TOKEN,
    TRANSCODER,
    TYP,
    TYPE,
    header,
)
from kit.calls import access_of
from kit.client import service_of

GUARDED_SERVICE = "identity"  # its public RPCs try passwords and send messages that cost money
TIMEOUT = "5.5s"  # a service's own 5 s and the way: so that its answer comes first

_IS_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_JSON = r"^$|^(?i:application/json)\s*(;.*)?$"


def virtual_host(services: Iterable[ServiceDescriptor], cors: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the one virtual host with all routes; the last says that there is nothing. `folder`: see docs.routes."""
    services = list(services)
    grpc = [route for service in services for rpc in service.methods for route in _grpc_routes(rpc)]
    rest = [binding for service in services for binding in contracts.bindings(service)]
    return {
        "name": "abacus",
        "domains": ["*"],
        "routes": [
            _preflight(services[0]),
            *grpc,
            *_rest_routes(rest),
            *not_yet(),
            *docs.routes(folder),
            live(),
            refusal({"prefix": "/"}, 404),
        ],
        "typed_per_filter_config": {"cors": cors},
        "request_headers_to_remove": [
            "x-envoy-external-address",
            "x-envoy-original-method",
            "x-envoy-original-path",  # with the query, which may hold secrets
        ],
        # One address, the true one. Envoy's own appending would put its own address for a client on this machine.
        "request_headers_to_add": [header("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")],
    }


def _grpc_routes(rpc: MethodDescriptor) -> list[dict[str, Any]]:
    path = {"path": f"/{rpc.containing_service.full_name}/{rpc.name}"}
    return [_route(rpc, {**path, "headers": [_IS_GRPC]}), refusal(path, 415)]


def _rest_routes(bindings: list[Binding]) -> list[dict[str, Any]]:
    """Literal segments before variables, as the transcoder chooses; after each path's verbs, the refusal of others."""
    by_path: dict[str, list[Binding]] = defaultdict(list)
    for binding in sorted(
        bindings, key=lambda one: [("{" in part or "*" in part, part) for part in one.template.split("/")]
    ):
        by_path[binding.pattern].append(binding)
    routes = []
    refused_later = []
    for same_path in by_path.values():
        path = _path(same_path[0])
        for binding in same_path:
            verb = {"name": ":method", "string_match": {"exact": binding.verb}}
            if binding.body:
                is_json = {
                    "name": "content-type",
                    "string_match": {"safe_regex": {"regex": _JSON}},
                    "treat_missing_header_as_empty": True,
                }
                routes.append(_route(binding.rpc, {**path, "headers": [verb, is_json]}, binding))
                routes.append(refusal({**path, "headers": [verb]}, 415))
            else:
                # The transcoder would pass it on as it is, to a path that no service has.
                routes.append(refusal({**path, "headers": [verb, _IS_GRPC]}, 415))
                routes.append(_route(binding.rpc, {**path, "headers": [verb]}, binding))
        allow = ", ".join(sorted({binding.verb for binding in same_path}))
        others = refusal(path, 405, allow=allow)
        # GET of /users/me may be one path's verb, and PATCH of it that of /users/{name}.
        if any(_may_mean(other, same_path[0].template) for other in bindings):
            refused_later.append(others)
        else:
            routes.append(others)
    return [*routes, *refused_later]


def _may_mean(binding: Binding, template: str) -> bool:
    """Whether a route with variables may be asked by this path of words: numbers are no words."""
    if binding.is_literal or not re.fullmatch(binding.pattern, template):
        return False
    pairs = zip(binding.template.split("/"), template.split("/"), strict=False)
    return all(
        one == other or binding.in_path.get(one.strip("{}"), "string") not in ("int32", "int64") for one, other in pairs
    )


def _path(binding: Binding) -> dict[str, Any]:
    if binding.is_literal:
        return {"path": binding.template}
    return {"safe_regex": {"regex": binding.pattern}}


def _route(rpc: MethodDescriptor, match: dict[str, Any], binding: Binding | None = None) -> dict[str, Any]:
    service = service_of(rpc.containing_service.full_name)
    is_public = access_of(rpc).public
    guards = _guards(service, is_public=is_public)
    metadata: dict[str, Any] = {}
    headers = []
    if binding is None:
        guards[TRANSCODER] = OFF
    else:
        guards[REST] = ON
        metadata = {"filter_metadata": {REST: _told(binding)}}
        headers.append(NO_SNIFFING)
        if service == GUARDED_SERVICE or not is_public:
            headers.append(header("cache-control", "no-store"))  # tokens and what is known of people
        if rpc.output_type.full_name == "google.api.HttpBody":
            # A picture that is opened as a page of its own runs nothing that may stand in it.
            headers.append(header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox"))
    return {
        "match": match,
        "metadata": metadata,
        "response_headers_to_add": headers,
        "route": {
            "cluster": service,
            "timeout": TIMEOUT,
            "retry_policy": {
                # Only where the service has surely not seen the call; all else is the caller's to repeat.
                "retry_on": "connect-failure,refused-stream",
                "num_retries": 2,
            },
        },
        "typed_per_filter_config": guards,
    }


def _told(binding: Binding) -> dict[str, Any]:
    """What rest.lua is to know of a route."""
    return {
        "body": binding.body or None,
        "query": dict(sorted(binding.in_query.items())),
        "path": dict(sorted(binding.in_path.items())),
        "places": {
            str(number): part.strip("{}")
            for number, part in enumerate(binding.template.split("/"))
            if part.startswith("{") and part.strip("{}") in binding.in_path
        },
        "unwrap": binding.unwraps,
    }


def _guards(service: str, *, is_public: bool) -> dict[str, Any]:
    if not is_public:
        return {JWT: {"@type": TYPE + "extensions.filters.http.jwt_authn.v3.PerRouteConfig", "requirement_name": TOKEN}}
    guards: dict[str, Any] = {JWT: OFF, TYP: OFF}
    if service == GUARDED_SERVICE:
        guards[SIGNIN] = ON
    return guards


def _preflight(any_service: ServiceDescriptor) -> dict[str, Any]:
    """The CORS filter answers these, on routes that lead somewhere; nothing is forwarded."""
    asks = [{"name": name, "present_match": True} for name in ("origin", "access-control-request-method")]
    verb = {"name": ":method", "string_match": {"exact": "OPTIONS"}}
    return {
        "match": {"prefix": "/", "headers": [verb, *asks]},
        "route": {"cluster": service_of(any_service.full_name)},
        "typed_per_filter_config": NOTHING_ASKED,
    }
