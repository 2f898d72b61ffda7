"""Clusters: where the services are, how many calls each gets, and how Envoy sees that one is away."""

import ipaddress
from typing import Any

from deploy.gateway.xds import TYPE, address

CALLS_MAX = 2000  # as many as a service takes at once


def plain(name: str, where: str) -> dict[str, Any]:
    """Return a cluster of HTTP/1 at host:port; a host's name is looked up again and again."""
    host, _, _ = where.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        kind = "STATIC"
    except ValueError:
        kind = "STRICT_DNS"
    return {
        "name": name,
        "type": kind,
        "connect_timeout": "1s",
        "dns_lookup_family": "V4_PREFERRED",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(where)}}]}],
        },
    }


def grpc(name: str, where: str) -> dict[str, Any]:
    """Return the cluster of a service, watched by gRPC's own health check.

    One host is called although it fails its check: what comes of a call says more than a check two seconds ago.
    """
    return plain(name, where) | {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        # Finds a peer that hangs; no oftener than the services permit.
                        "connection_keepalive": {"interval": "30s", "timeout": "5s"},
                    }
                },
            }
        },
        "circuit_breakers": {
            "thresholds": [{"max_requests": CALLS_MAX, "max_pending_requests": CALLS_MAX, "max_retries": 50}]
        },
        "health_checks": [
            {
                "grpc_health_check": {},
                "interval": "2s",
                "no_traffic_interval": "2s",
                "unhealthy_interval": "0.5s",
                "timeout": "1s",
                "healthy_threshold": 1,
                "unhealthy_threshold": 2,
            }
        ],
    }
