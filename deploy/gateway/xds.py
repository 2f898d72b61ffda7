"""Pieces that all parts of Envoy's configuration are made of.

https://www.envoyproxy.io/docs/envoy/v1.39.3/api-v3/api says what each field of it means.
"""

from typing import Any

TYPE = "type.googleapis.com/envoy."

# Names of filters in the connection manager: routes speak of them.
JWT, TYP, SIGNIN, BUFFER = "jwt_authn", "token_type", "signin_limit", "buffer"
REST, TRANSCODER = "rest", "grpc_json_transcoder"
TOKEN = "token"  # noqa: S105  # name of the requirement of a token

# What a route says of a filter.
ON = {"@type": TYPE + "config.route.v3.FilterConfig", "config": {}}
OFF = {"@type": TYPE + "config.route.v3.FilterConfig", "disabled": True}
# Of requests that reach no service. Nor is their body waited for: a stream may never end.
NOTHING_ASKED = {JWT: OFF, TYP: OFF, BUFFER: OFF, TRANSCODER: OFF}


def extension(name: str, kind: str, /, **config: Any) -> dict[str, Any]:
    """Return an extension: a name of ours, its message without the prefix, and the message's fields."""
    return {"name": name, "typed_config": {"@type": TYPE + kind, **config}}


def http_filter(name: str, kind: str, /, **config: Any) -> dict[str, Any]:
    """Return an HTTP filter; routes speak of it by its name."""
    return extension(name, "extensions.filters.http." + kind, **config)


def address(text: str) -> dict[str, Any]:
    """Return host:port as Envoy has it."""
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def header(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> dict[str, Any]:
    """Return a header that is set; the value may be a format of Envoy's."""
    return {"header": {"key": name, "value": value}, "append_action": action}


# Browsers believe the content-type, whatever stands in the body.
NO_SNIFFING = header("x-content-type-options", "nosniff")


def when(expression: str) -> dict[str, Any]:
    """Return a filter of log lines and replies: CEL over a request and its answer.

    https://www.envoyproxy.io/docs/envoy/v1.39.3/intro/arch_overview/advanced/attributes names what it may look at.
    """
    return {
        "extension_filter": extension(
            "cel", "extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=expression
        )
    }
