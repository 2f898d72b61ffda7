"""What Envoy itself answers instead of a service, in the same form as the services' errors.

The rows are tried in order; the first whose condition holds makes the answer. Each is told twice: as JSON, and for
gRPC and gRPC-Web as grpc-status with google.rpc.Status in grpc-status-details-bin. JSON callers whose request was
transcoded already are gRPC callers to Envoy: the transcoder turns those details into the same JSON.
"""

import base64
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from google.protobuf import json_format
from google.rpc import code_pb2, status_pb2

from deploy.gateway.xds import header, when
from kit import errors

RETRY_AFTER_S = 1
_AWAY = "a part of the shop does not answer, try again"
_OURS = "an error on our side, it is in our log"
_SAID = "%LOCAL_REPLY_BODY%"


@dataclass(frozen=True)
class Reply:
    """One row: when it is told (see xds.when), and what."""

    condition: str
    http: HTTPStatus
    code: int
    reason: str
    message: str
    retry: bool = False
    grpc_code: int | None = None  # where gRPC has a code of its own for it


def _because(*details: str) -> str:
    """Envoy's own reason begins with one of these."""
    return " || ".join(f"response.code_details.startsWith('{text}')" for text in details)


def _is(status: HTTPStatus) -> str:
    return f"response.code == {status.value}"


_TRANSCODER = ("early_grpc_json_transcode_failure", "grpc_json_transcode_failure")
# The transcoder has already made a gRPC request of what it refuses, and yet answers it as JSON.
_IS_GRPC = f"request.headers['content-type'].startsWith('application/grpc') && !({_because(*_TRANSCODER)})"

REPLIES = (
    Reply(
        _because("jwt_authn_access_denied{Jwks_remote_fetch"),
        HTTPStatus.SERVICE_UNAVAILABLE, code_pb2.UNAVAILABLE, "PEER_UNAVAILABLE",
        "tokens cannot be checked now, try again", retry=True,
    ),
    Reply(
        _because("jwt_authn_access_denied{Jwt_is_missing"),
        HTTPStatus.UNAUTHORIZED, code_pb2.UNAUTHENTICATED, "TOKEN_MISSING",
        "this call needs an access token: authorization: Bearer <token>",
    ),
    Reply(
        _because("jwt_authn_access_denied{Jwt_is_expired"),
        HTTPStatus.UNAUTHORIZED, code_pb2.UNAUTHENTICATED, "TOKEN_EXPIRED",
        "the access token has expired",
    ),
    Reply(
        _because("jwt_authn_access_denied", "rbac_access_denied"),
        HTTPStatus.UNAUTHORIZED, code_pb2.UNAUTHENTICATED, "TOKEN_INVALID",
        "the access token is not valid",
    ),
    Reply(
        _is(HTTPStatus.TOO_MANY_REQUESTS),
        HTTPStatus.TOO_MANY_REQUESTS, code_pb2.RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS",
        "too many requests, try again later", retry=True,
    ),
    Reply(
        _is(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, code_pb2.INVALID_ARGUMENT, "REQUEST_TOO_LARGE",
        "the request is larger than 1 MiB",
    ),
    Reply(
        _is(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, code_pb2.INVALID_ARGUMENT, "REQUEST_TOO_LARGE",
        "the request's headers are too large",
    ),
    Reply(
        _is(HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, code_pb2.INVALID_ARGUMENT, "MEDIA_TYPE_UNSUPPORTED",
        "content-type must be application/json, or application/grpc on the paths of gRPC",
    ),
    Reply(
        # The transcoder names the field, and repeats its value: rest.lua keeps the name only.
        f"{_is(HTTPStatus.BAD_REQUEST)} && ({_because(*_TRANSCODER)})",
        HTTPStatus.BAD_REQUEST, code_pb2.INVALID_ARGUMENT, "MALFORMED_REQUEST",
        _SAID,
    ),
    Reply(
        _is(HTTPStatus.NOT_FOUND),
        HTTPStatus.NOT_FOUND, code_pb2.NOT_FOUND, "ROUTE_NOT_FOUND",
        "there is nothing at this path", grpc_code=code_pb2.UNIMPLEMENTED,
    ),
    Reply(
        _is(HTTPStatus.METHOD_NOT_ALLOWED),
        HTTPStatus.METHOD_NOT_ALLOWED, code_pb2.UNIMPLEMENTED, "METHOD_NOT_ALLOWED",
        "this path has other methods, named in the header allow",
    ),
    Reply(
        _because("http1.invalid_transfer_encoding"),
        HTTPStatus.BAD_REQUEST, code_pb2.INVALID_ARGUMENT, "MALFORMED_REQUEST",
        "the only transfer-encoding that this door understands is chunked",
    ),
    Reply(
        _is(HTTPStatus.NOT_IMPLEMENTED),
        HTTPStatus.NOT_IMPLEMENTED, code_pb2.UNIMPLEMENTED, "NOT_IMPLEMENTED",
        "this route is promised, and not made yet",
    ),
    Reply(
        # Envoy has another status for what came as a whole.
        _is(HTTPStatus.REQUEST_TIMEOUT),
        HTTPStatus.REQUEST_TIMEOUT, code_pb2.DEADLINE_EXCEEDED, "REQUEST_TIMEOUT",
        "the request did not come as a whole in time",
    ),
    Reply(
        _because("response_timeout", "request_overall_timeout", "max_duration_timeout", "stream_idle_timeout"),
        HTTPStatus.SERVICE_UNAVAILABLE, code_pb2.UNAVAILABLE, "TIMEOUT",
        "this took too long, try again", retry=True,
    ),
    Reply(
        "response.code in [502, 503, 504]",
        HTTPStatus.SERVICE_UNAVAILABLE, code_pb2.UNAVAILABLE, "PEER_UNAVAILABLE",
        _AWAY, retry=True,
    ),
    Reply(
        "response.code >= 500",
        HTTPStatus.INTERNAL_SERVER_ERROR, code_pb2.INTERNAL, "INTERNAL",
        _OURS,
    ),
    Reply(
        "response.code >= 400",
        HTTPStatus.BAD_REQUEST, code_pb2.INVALID_ARGUMENT, "MALFORMED_REQUEST",
        "the request is not one that this door understands",
    ),
)  # fmt: skip


def local_replies() -> dict[str, Any]:
    """Return the local_reply_config of the connection manager."""
    return {
        "mappers": [
            _mapper(_because("health_check_ok"), None, {"json_format": {"status": "SERVING"}}),
            # rest.lua makes its own.
            _mapper(_because("lua_response"), None, _text(_SAID, "application/json")),
            *(mapper for reply in REPLIES for mapper in (_for_grpc(reply), _for_json(reply))),
        ]
    }


def unnamed() -> dict[int, str]:
    """Return JSON by gRPC code, for what leaves a service without a reason of ours: gRPC's own refusals."""
    known = {
        code_pb2.DEADLINE_EXCEEDED: errors.DEADLINE_EXCEEDED("the call's deadline passed"),
        code_pb2.RESOURCE_EXHAUSTED: errors.OVERLOADED("too much to do now, try again", retry_after_s=RETRY_AFTER_S),
        code_pb2.UNAVAILABLE: errors.PEER_UNAVAILABLE(_AWAY, retry_after_s=RETRY_AFTER_S),
    }
    return {code: _json(known.get(code, errors.Error(code, "INTERNAL", _OURS))) for code in code_pb2.Code.values()}


def body_refusal(message: str, *, field: str) -> str:
    """Return the JSON by which a body of a REST route is refused."""
    return _json(errors.MALFORMED_REQUEST(message, field=field))


def _json(error: errors.Error) -> str:
    return json.dumps(json_format.MessageToDict(errors.to_status(error)))


def _status(reply: Reply, code: int) -> status_pb2.Status:
    retry_after_s = RETRY_AFTER_S if reply.retry else None
    return errors.to_status(errors.Error(code, reply.reason, reply.message, retry_after_s=retry_after_s))


def _for_json(reply: Reply) -> dict[str, Any]:
    body = json_format.MessageToDict(_status(reply, reply.code))
    return _mapper(reply.condition, reply.http, {"json_format": body}, _headers(reply))


def _for_grpc(reply: Reply) -> dict[str, Any]:
    code = reply.code if reply.grpc_code is None else reply.grpc_code
    status = _status(reply, code)
    headers = {
        "grpc-status": str(code),
        "grpc-message": reply.message,
        "grpc-status-details-bin": base64.b64encode(status.SerializeToString()).decode().rstrip("="),
    }
    # All in the headers, and nothing in the body: what else stands there Envoy would give gRPC-Web unframed.
    nothing = _text("", "application/grpc")
    return _mapper(f"{_IS_GRPC} && ({reply.condition})", HTTPStatus.OK, nothing, headers | _headers(reply))


def _headers(reply: Reply) -> dict[str, str]:
    if reply.http == HTTPStatus.UNAUTHORIZED:
        return {"www-authenticate": "Bearer"}
    return {"retry-after": str(RETRY_AFTER_S)} if reply.retry else {}


def _text(text: str, content_type: str) -> dict[str, Any]:
    return {"content_type": content_type, "text_format_source": {"inline_string": text}}


def _mapper(
    condition: str, http: HTTPStatus | None, body: dict[str, Any], headers: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "filter": when(condition),
        **({"status_code": http.value} if http else {}),
        "headers_to_add": [header(name, value) for name, value in (headers or {}).items()],
        "body_format_override": body,
    }
