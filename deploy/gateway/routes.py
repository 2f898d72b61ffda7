"""Routes: each RPC by its gRPC path and by its REST routes, with what its policy asks of the caller."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from deploy import contracts
from deploy.contracts import Binding
from deploy.gateway.xds import TYPE, header
from kit.calls import access_of
from kit.client import service_of

# Names of filters in the connection manager: routes speak of them.
JWT, TYP, SIGNIN, BUFFER = "jwt_authn", "token_type", "signin_limit", "buffer"
REST, TRANSCODER = "rest", "grpc_json_transcoder"
TOKEN = "token"  # noqa: S105  # name of the requirement of a token
GUARDED_SERVICE = "identity"  # its public RPCs try passwords and send messages that cost money
TIMEOUT = "5.5s"  # a service's own 5 s and the way: so that its answer comes first

_ON = {"@type": TYPE + "config.route.v3.FilterConfig", "config": {}}
_OFF = {"@type": TYPE + "config.route.v3.FilterConfig", "disabled": True}
# Of requests that reach no service. Nor is their body waited for: a stream may never end.
_NOTHING_ASKED = {JWT: _OFF, TYP: _OFF, BUFFER: _OFF, TRANSCODER: _OFF}
_IS_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_JSON = r"^$|^(?i:application/json)\s*(;.*)?$"


def virtual_host(services: Iterable[ServiceDescriptor], cors: dict[str, Any]) -> dict[str, Any]:
    """Return the one virtual host with all routes; the last says that there is nothing."""
    services = list(services)
    grpc = [route for service in services for rpc in service.methods for route in _grpc_routes(rpc)]
    rest = [binding for service in services for binding in contracts.bindings(service)]
    return {
        "name": "abacus",
        "domains": ["*"],
        "routes": [_preflight(services[0]), *grpc, *_rest_routes(rest), _live(), _refusal({"prefix": "/"}, 404)],
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
    return [_route(rpc, {**path, "headers": [_IS_GRPC]}), _refusal(path, 415)]


def _rest_routes(bindings: list[Binding]) -> list[dict[str, Any]]:
    """Literal segments before variables, as the transcoder chooses; after each path's verbs, the refusal of others."""
    by_path: dict[str, list[Binding]] = defaultdict(list)
    for binding in sorted(
        bindings, key=lambda one: [("{" in part or "*" in part, part) for part in one.template.split("/")]
    ):
        by_path[binding.pattern].append(binding)
    routes = []
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
                routes.append(_refusal({**path, "headers": [verb]}, 415))
            else:
                # The transcoder would pass it on as it is, to a path that no service has.
                routes.append(_refusal({**path, "headers": [verb, _IS_GRPC]}, 415))
                routes.append(_route(binding.rpc, {**path, "headers": [verb]}, binding))
    # Only now: GET of /users/me may be one path's verb, and PATCH of it that of /users/{user_id}.
    for same_path in by_path.values():
        allow = ", ".join(sorted({binding.verb for binding in same_path}))
        routes.append(_refusal(_path(same_path[0]), 405, allow=allow))
    return routes


def _path(binding: Binding) -> dict[str, Any]:
    if binding.is_literal:
        return {"path": binding.template}
    return {"safe_regex": {"regex": binding.pattern}}


def _route(rpc: MethodDescriptor, match: dict[str, Any], binding: Binding | None = None) -> dict[str, Any]:
    service = service_of(rpc.containing_service.full_name)
    guards = _guards(service, is_public=access_of(rpc).public)
    metadata: dict[str, Any] = {}
    headers = []
    if binding is None:
        guards[TRANSCODER] = _OFF
    else:
        guards[REST] = _ON
        metadata = {"filter_metadata": {REST: _told(binding)}}
        if service == GUARDED_SERVICE:
            headers.append(header("cache-control", "no-store"))  # tokens and what is known of people
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
        "query": dict.fromkeys(sorted(binding.in_query), True),
        "path": dict.fromkeys(sorted(binding.in_path), True),
        "unwrap": binding.unwraps,
    }


def _guards(service: str, *, is_public: bool) -> dict[str, Any]:
    if not is_public:
        return {JWT: {"@type": TYPE + "extensions.filters.http.jwt_authn.v3.PerRouteConfig", "requirement_name": TOKEN}}
    guards: dict[str, Any] = {JWT: _OFF, TYP: _OFF}
    if service == GUARDED_SERVICE:
        guards[SIGNIN] = _ON
    return guards


def _preflight(any_service: ServiceDescriptor) -> dict[str, Any]:
    """The CORS filter answers these, on routes that lead somewhere; nothing is forwarded."""
    asks = [{"name": name, "present_match": True} for name in ("origin", "access-control-request-method")]
    verb = {"name": ":method", "string_match": {"exact": "OPTIONS"}}
    return {
        "match": {"prefix": "/", "headers": [verb, *asks]},
        "route": {"cluster": service_of(any_service.full_name)},
        "typed_per_filter_config": _NOTHING_ASKED,
    }


def _live() -> dict[str, Any]:
    """The gateway itself runs, whatever stands behind it."""
    return {
        "match": {"path": "/health/live"},
        "direct_response": {"status": 200, "body": {"inline_string": '{"status":"SERVING"}'}},
        "response_headers_to_add": [header("content-type", "application/json")],
        "typed_per_filter_config": _NOTHING_ASKED,
    }


def _refusal(match: dict[str, Any], status: int, **headers: str) -> dict[str, Any]:
    # The CORS filter passes over routes that lead nowhere; a page may well read what is the same for everybody.
    headers |= {"access-control-allow-origin": "*"}
    return {
        "match": match,
        "direct_response": {"status": status},
        "response_headers_to_add": [header(name, value) for name, value in headers.items()],
        "typed_per_filter_config": _NOTHING_ASKED,
    }
