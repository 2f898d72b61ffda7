"""Envoy's configuration as one dict, written as two files. Its parts: routes, filters, replies, clusters."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from deploy import contracts
from deploy.gateway import clusters, docs
from deploy.gateway.filters import BODY_BYTES_MAX, JWKS, cors_policy, http_filters
from deploy.gateway.replies import local_replies
from deploy.gateway.routes import virtual_host
from deploy.gateway.settings import Settings
from deploy.gateway.xds import TYPE, address, extension, header, when
from kit.client import service_of


def write(
    folder: Path,
    addresses: Mapping[str, str],
    services: Iterable[ServiceDescriptor],
    service_keys: Mapping[str, Any],
    settings: Settings,
) -> None:
    """Write envoy.json and what it names into a folder, each file at once; arguments and errors as of `make`."""
    services = list(services)
    descriptors = folder.resolve() / "descriptors.binpb"
    made = make(addresses, services, service_keys, descriptors, settings)
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in (
        (descriptors, contracts.descriptor_set(services).SerializeToString()),
        *((folder / name, content) for name, content in docs.files().items()),
        (folder / "envoy.json", json.dumps(made, indent=1).encode()),  # last: it names the others
    ):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(path)


def make(
    addresses: Mapping[str, str],
    services: Iterable[ServiceDescriptor],
    service_keys: Mapping[str, Any],
    descriptors: Path,
    settings: Settings,
) -> dict[str, Any]:
    """Make the configuration.

    Args:
        addresses: host:port by name: "listen" and "admin" to listen on, "jwks", and each service's.
        services: what is served; each belongs to the address of its package's name.
        service_keys: public keys of services as JWKs by name; only those of "local" are used.
        descriptors: file with `contracts.descriptor_set(services)`, as Envoy will see it; beside it lie `docs.files()`.
        settings: limits and names.

    Raises:
        NoPolicyError: an RPC has no policy.
        KeyError: a service has no address.
    """
    services = list(services)
    owners = sorted({service_of(service.full_name) for service in services})
    return {
        "admin": {
            "address": address(addresses["admin"]),
            # Only to look: else any page that a browser on this machine shows could end Envoy.
            "allow_paths": [{"prefix": f"/{page}"} for page in ("stats", "ready", "clusters", "server_info", "memory")],
        },
        "static_resources": {
            "listeners": [
                _listener(addresses["listen"], _connection_manager(services, service_keys, descriptors, settings))
            ],
            "clusters": [
                *(clusters.grpc(name, addresses[name]) for name in owners),
                clusters.plain(JWKS, addresses[JWKS]),
            ],
        },
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=settings.connections_max,
                )
            ]
        },
    }


def _listener(where: str, connection_manager: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "people",
        "address": address(where),
        "per_connection_buffer_limit_bytes": BODY_BYTES_MAX,
        # It waits for a connection's first line, and so ends those on which nothing is said.
        "listener_filters": [
            extension("http_inspector", "extensions.filters.listener.http_inspector.v3.HttpInspector")
        ],
        "listener_filters_timeout": "5s",
        "filter_chains": [{"filters": [connection_manager]}],
    }


def _connection_manager(
    services: list[ServiceDescriptor], service_keys: Mapping[str, Any], descriptors: Path, settings: Settings
) -> dict[str, Any]:
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="people",
        **_limits(),
        **_what_comes_in(),
        server_header_transformation="PASS_THROUGH",  # no name and no version of a program to the outside
        local_reply_config=local_replies(),
        access_log=[_failures_log()],
        route_config={
            "name": "contracts",
            "virtual_hosts": [virtual_host(services, cors_policy(settings), descriptors.parent)],
            "max_direct_response_body_size_bytes": docs.FILE_BYTES_MAX,
        },
        http_filters=http_filters(services, service_keys, descriptors, settings),
    )


def _limits() -> dict[str, Any]:
    """Times and sizes of what clients may hold open."""
    return {
        "common_http_protocol_options": {
            "idle_timeout": "30s",  # between requests
            "max_stream_duration": "30s",
            "max_headers_count": 100,
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": BODY_BYTES_MAX,
        },
        "drain_timeout": "1s",  # from telling a connection that its idle time is over until its end
        "max_request_headers_kb": 32,
        "request_headers_timeout": "10s",
        "request_timeout": "20s",  # until the request is here as a whole
        "stream_idle_timeout": "15s",
    }


def _what_comes_in() -> dict[str, Any]:
    """What a client's address, path and headers may do."""
    return {
        "use_remote_address": True,  # of who connects: what a client says about its address is not looked at
        "skip_xff_append": True,  # the routes set it
        # Nobody is inside: else whoever comes from a private address could steer Envoy by x-envoy-… headers.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "normalize_path": True,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "preserve_external_request_id": True,
        # Else it would write into a UUID of the client's whether the call is traced.
        "request_id_extension": {
            "typed_config": {
                "@type": TYPE + "extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
            }
        },
        "always_set_request_id_in_response": True,
        "early_header_mutation_extensions": [
            extension(
                "header_mutation",
                "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                mutations=[
                    {"append": header("grpc-timeout", _GRPC_TIMEOUT, "OVERWRITE_IF_EXISTS")},
                    {"append": header("grpc-timeout", _LONGEST, "ADD_IF_ABSENT")},
                    # A sane id of the client's stays; without one Envoy makes one.
                    {"remove": "x-sane-id"},
                    {"append": header("x-sane-id", _REQUEST_ID)},
                    {"remove": "x-request-id"},
                    {"append": header("x-request-id", "%REQ(x-sane-id)%")},
                    {"remove": "x-sane-id"},
                    *({"remove": name} for name in ("forwarded", "x-forwarded-host", "x-real-ip")),
                ],
            )
        ],
    }


# A service ends a call after 5 s and says why. gRPC itself would end it after this, without a reason, and Envoy after
# routes.TIMEOUT: each a little later than the one that tells more.
_LONGEST = "5300m"
# A client's own deadline where it has one of at most 5 s. In parts: Envoy bounds the size of a regex.
_GRPC_TIMEOUT = (
    "%CEL("
    + " || ".join(
        f"request.headers['grpc-timeout'].matches('{pattern}')"
        for pattern in ("^[0-5]S$", "^[0-4]?[0-9]?[0-9]?[0-9]m$", "^[0-4]?[0-9]{1,6}u$", "^[0-9]+n$")
    )
    + f" ? request.headers['grpc-timeout'] : '{_LONGEST}')%"
)
_REQUEST_ID = (
    "%CEL(request.headers['x-request-id'].size() <= 64 && request.headers['x-request-id'].matches('^[A-Za-z0-9._-]+$')"
    " ? request.headers['x-request-id'] : '')%"
)


def _failures_log() -> dict[str, Any]:
    """One line for each failure that is not the caller's; without query strings and tokens, which may be secrets."""
    codes = "['2', '13', '14', '15']"
    # Not response.grpc_status: that is 2 wherever an answer has none, as of REST, preflights and /health.
    told = [f"response.{where}['grpc-status'] in {codes}" for where in ("headers", "trailers")]
    failed = " || ".join(("response.code == 500 || response.code > 501", *told))  # 501: direct.NOT_YET
    return {
        "filter": when(failed),
        **extension(
            "stdout",
            "extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={
                "json_format": {
                    "timestamp": "%START_TIME%",
                    "event": "call failed",
                    "method": "%REQ(:METHOD)%",
                    "path": "%PATH(NQ)%",
                    "code": "%RESPONSE_CODE%",
                    "grpc": "%GRPC_STATUS%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "flags": "%RESPONSE_FLAGS%",
                    "milliseconds": "%DURATION%",
                    "request_id": "%REQ(X-REQUEST-ID)%",
                }
            },
        ),
    }
