"""Calls to other services: deadlines passed on, retries where they are safe, the same named errors.

Each call carries what is left of the deadline of the call that makes it. UNAVAILABLE is tried again, here and at no
other layer; that is safe because a request with a `request_id` gets one before its first try, and the other calls
that services make have no effect.
"""

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import grpc
from google.rpc import code_pb2
from grpc_status import rpc_status

from kit import errors
from kit.calls import current
from kit.tokens import ServiceKey

TIMEOUT_S = 4.0  # where no call is being served: a worker's
MARGIN = 0.9  # of what is left, so that the caller can still be told

_ADDRESSES = re.compile(r"[\d.]+:\d+(,[\d.]+:\d+)*")

# What a peer's transport says by itself, without a reason of ours: it is full, going, or none of ours.
_NOT_NOW = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNKNOWN,
}

# What a peer says of our own token: our caller's is another, and he can mend nothing.
_OUR_FAULT = {
    reason.name for reason in (errors.TOKEN_MISSING, errors.TOKEN_INVALID, errors.TOKEN_EXPIRED, errors.NOT_ALLOWED)
}

_SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}


def connect(target: str, key: ServiceKey) -> grpc.aio.Channel:
    """A channel to the processes of a service; it connects when it is used.

    Args:
        key: signs each call.
        target: `host:port`, or several IPv4 addresses with ports, separated by commas. Calls go to all in turn; a name
            is looked up, and all its addresses are used.
    """
    return grpc.aio.insecure_channel(
        f"ipv4:{target}" if _ADDRESSES.fullmatch(target) else f"dns:///{target}",
        interceptors=[_Interceptor(key)],
        options=[
            ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
            # A service that is back is found again at once, not after the default of up to two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 500),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # A service that hangs is noticed.
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 3_000),
        ],
    )


class _Interceptor(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, key: ServiceKey):
        self.key = key

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        call = current.get()
        timeout_s = call.time_left_s() * MARGIN if call else TIMEOUT_S
        if details.timeout is not None:
            timeout_s = min(timeout_s, details.timeout)
        if "request_id" in request.DESCRIPTOR.fields_by_name and not request.request_id:
            request = _copy(request)  # the caller's own may be sent again, and would be a repeat
            request.request_id = str(uuid.uuid4())
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        metadata.add("authorization", f"Bearer {self.key.token(service_of(details.method))}")
        details = details._replace(timeout=max(timeout_s, 0.001), metadata=metadata)
        try:
            return await (await continuation(details, request))
        except grpc.aio.AioRpcError as error:
            raise _named(error, details.method) from error


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _named(error: grpc.aio.AioRpcError, method: str | bytes) -> Exception:
    status = rpc_status.from_call(error)
    named = errors.from_status(status) if status else None
    if named and named.reason in _OUR_FAULT:
        return RuntimeError(f"{service_of(method)} does not take our token: {named.reason}")
    if named and named.code != code_pb2.UNAVAILABLE:
        return named
    if named or error.code() in _NOT_NOW:
        return errors.PEER_UNAVAILABLE(f"{service_of(method)} does not answer, try again", retry_after_s=1)
    return RuntimeError(f"{method!r} failed: {error.code().name}: {error.details()}")


def service_of(method: str | bytes) -> str:
    """`loms` of `/abacus.loms.v1.LomsService/Stocks`, also without the method."""
    name = method.decode() if isinstance(method, bytes) else method
    return name.split(".")[1]
