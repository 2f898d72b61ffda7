"""HTTP filters: what happens to each request on its way in, and to the answer on its way out."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor

from deploy import contracts
from deploy.gateway.replies import body_refusal, unnamed
from deploy.gateway.settings import Settings
from deploy.gateway.xds import BUFFER, JWT, REST, SIGNIN, TOKEN, TRANSCODER, TYP, TYPE, header, http_filter
from kit.client import service_of
from kit.tokens import PERSON, PERSON_AUDIENCE, PERSON_ISSUER, SERVICE

BODY_BYTES_MAX = 1024 * 1024
JWKS = "jwks"  # the cluster of identity's keys
JWKS_PATH = "/.well-known/jwks.json"


def http_filters(
    services: list[ServiceDescriptor], service_keys: Mapping[str, Any], descriptors: Path, settings: Settings
) -> list[dict[str, Any]]:
    """Return all filters; arguments as of config.make. What is cheap and refuses comes first."""
    return [
        _headers_out(),
        _health(services),
        http_filter("cors", "cors.v3.Cors"),
        http_filter("grpc_web", "grpc_web.v3.GrpcWeb"),
        _door_limit(settings),
        _signin_limit(settings),
        _jwt(services, service_keys, settings),
        _token_type(),
        http_filter(BUFFER, "buffer.v3.Buffer", max_request_bytes=BODY_BYTES_MAX + 5),  # 5: gRPC's frame
        _rest(services),
        _transcoder(services, descriptors),
        http_filter("router", "router.v3.Router", suppress_envoy_headers=True),
    ]


def _headers_out() -> dict[str, Any]:
    """First on the way in, so last on the way out: no header says what programs stand here, caches tell pages apart."""
    names = ("server", "grpc-accept-encoding", "x-envoy-ratelimited", "x-envoy-upstream-healthchecked-cluster")
    removed = [{"remove": name} for name in names]
    vary = {"append": header("vary", "origin", "APPEND_IF_EXISTS_OR_ADD")}
    return http_filter(
        "headers_out", "header_mutation.v3.HeaderMutation", mutations={"response_mutations": [*removed, vary]}
    )


def _health(services: list[ServiceDescriptor]) -> dict[str, Any]:
    """GET /health: 200 where every service has a host that serves."""
    return http_filter(
        "health_check",
        "health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": "/health"}}],
        cluster_min_healthy_percentages={service_of(service.full_name): {"value": 1} for service in services},
    )


def cors_policy(settings: Settings) -> dict[str, Any]:
    """Return which pages of other origins may call, and what they may send and read."""

    def matcher(origin: str) -> dict[str, Any]:
        if origin.endswith(":*"):
            return {"safe_regex": {"regex": re.escape(origin.removesuffix(":*")) + r"(:\d{1,5})?"}}
        return {"exact": origin}

    return {
        "@type": TYPE + "extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [
            matcher(origin.strip()) for origin in settings.origins.split(",") if origin.strip()
        ],
        "allow_methods": "GET, POST, PUT, PATCH, DELETE",
        "allow_headers": "authorization, content-type, idempotency-key, accept-language, x-request-id, grpc-timeout,"
        " x-grpc-web, x-user-agent",
        "expose_headers": "x-request-id, grpc-status, grpc-message, grpc-status-details-bin, retry-after",
        "max_age": "600",
        "forward_not_matching_preflights": False,
    }


def _bucket(per_s: int, burst: int) -> dict[str, Any]:
    return {"max_tokens": burst, "tokens_per_fill": per_s, "fill_interval": "1s"}


def _limit(name: str, **config: Any) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100}}
    return http_filter(
        name,
        "local_ratelimit.v3.LocalRateLimit",
        stat_prefix=name,
        filter_enabled=always,
        filter_enforced=always,
        rate_limited_as_resource_exhausted=True,
        **config,
    )


def _door_limit(settings: Settings) -> dict[str, Any]:
    return _limit("door_limit", token_bucket=_bucket(settings.calls_per_s, settings.calls_per_s))


def _signin_limit(settings: Settings) -> dict[str, Any]:
    """Off, but for the routes that turn it on. A bucket for each client; an IPv6 client is its network of 64 bits."""
    return _limit(
        SIGNIN,
        descriptors=[
            {
                "entries": [{"key": "masked_remote_address"}],  # no value: each has its own
                "token_bucket": _bucket(settings.signin_per_s, settings.signin_burst),
            }
        ],
        max_dynamic_descriptors=10_000,
        rate_limits=[{"actions": [{"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}]}],
    ) | {"disabled": True}


def _jwt(services: list[ServiceDescriptor], service_keys: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    common = {
        "forward": True,  # each service checks it again
        # Envoy would take one from the query as well, where it ends in logs. What follows the scheme: that this is
        # Bearer, in any case (RFC 9110), each service sees.
        "from_headers": [{"name": "authorization", "value_prefix": " "}],
        "require_expiration": True,
        "clock_skew_seconds": 5,
        # To check a signature costs as much as all else here. A token that passed once passes until its time is over,
        # even by a key that is withdrawn in between. The services refuse it: they check what they remember again after
        # 30 s at most, and take no person's token that is good for more than 300 s in all.
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }
    return http_filter(
        JWT,
        "jwt_authn.v3.JwtAuthentication",
        providers={
            "identity": {
                "issuer": PERSON_ISSUER,
                "audiences": [PERSON_AUDIENCE],
                "remote_jwks": {
                    "http_uri": {"uri": f"http://identity{JWKS_PATH}", "cluster": JWKS, "timeout": "2s"},
                    "cache_duration": f"{settings.jwks_cache_s}s",
                    # In the background, and again each second while it fails; old keys count meanwhile.
                    "async_fetch": {},
                },
                "header_in_metadata": "identity",
                "max_lifetime": "310s",  # identity's are good for 300 s at most
                **common,
            },
            # The developer's own; no other service comes by this door.
            "local": {
                "issuer": "local",
                "audiences": sorted({service_of(service.full_name) for service in services}),
                "local_jwks": {"inline_string": json.dumps(service_keys.get("local", {"keys": []}))},
                "header_in_metadata": "local",
                **common,
            },
        },
        strip_failure_response=True,  # its www-authenticate repeats the URL with its query; replies.py has another
        requirement_map={
            TOKEN: {"requires_any": {"requirements": [{"provider_name": "identity"}, {"provider_name": "local"}]}}
        },
    )


def _token_type() -> dict[str, Any]:
    """jwt_authn does not look at typ: without this, other JWTs that a key signs would be taken for access tokens."""

    def typ(provider: str, wanted: str) -> dict[str, Any]:
        matcher = {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": provider}, {"key": "typ"}],
            "value": {"string_match": {"exact": wanted}},
        }
        return {"sourced_metadata": {"metadata_matcher": matcher}}

    return http_filter(
        TYP,
        "rbac.v3.RBAC",
        rules={
            "action": "ALLOW",
            "policies": {
                "token": {
                    "permissions": [{"any": True}],
                    "principals": [typ("identity", PERSON), typ("local", SERVICE)],
                }
            },
        },
    )


def _rest(services: list[ServiceDescriptor]) -> dict[str, Any]:
    """Off, but for the REST routes; rest.lua says what it does."""
    bindings = [binding for service in services for binding in contracts.bindings(service)]
    fields = {
        message: ", ".join(f'["{name}"] = "{kind}"' for name, kind in kinds.items())
        for message, kinds in contracts.body_types(bindings).items()
    }
    values = {
        enum: ", ".join(f'["{name}"] = true' for name in names) for enum, names in contracts.enums(bindings).items()
    }
    source = "\n".join(
        (
            *_lua_table("TYPES", fields),
            *_lua_table("ENUMS", values),
            f"local REFUSAL = [[{body_refusal('MESSAGE', field='FIELD')}]]",
            "local UNNAMED = {",
            *(f'  ["{code}"] = [[{answer}]],' for code, answer in unnamed().items()),
            "}",
            Path(__file__).with_name("rest.lua").read_text(),
        )
    )
    return http_filter(REST, "lua.v3.Lua", default_source_code={"inline_string": source}) | {"disabled": True}


def _lua_table(name: str, rows: Mapping[str, str]) -> Iterator[str]:
    yield f"local {name} = {{"
    yield from (f'  ["{key}"] = {{{inside}}},' for key, inside in rows.items())
    yield "}"


def _transcoder(services: list[ServiceDescriptor], descriptors: Path) -> dict[str, Any]:
    return http_filter(
        TRANSCODER,
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=str(descriptors),
        services=[service.full_name for service in services],
        match_incoming_request_route=True,
        convert_grpc_status=True,
        print_options={"always_print_primitive_fields": True},
        request_validation_options={
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        query_param_unescape_plus=True,  # as forms write a space, and most programs
        max_request_body_size=BODY_BYTES_MAX,
        max_response_body_size=4 * BODY_BYTES_MAX,
    )
