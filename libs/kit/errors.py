"""Errors are part of the API: a gRPC code and a stable reason, made and read in one place.

A service lists its reasons in its own `errors.py`, one screen; docs/errors.md, made of them, names them all.
Details travel as google.rpc.Status (https://google.aip.dev/193): ErrorInfo always, BadRequest for fields,
RetryInfo where waiting helps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

DOMAIN = "abacus"


class Error(Exception):
    """What a caller is told: a code, a stable reason, a sentence, and what a program needs to act on it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        fields: Sequence[tuple[str, str]] = (),
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ):
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.fields = list(fields)
        self.metadata = dict(metadata or {})
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


@dataclass(frozen=True)
class Reason:
    """One row of the table of errors; calling it makes the error, `raise ORDER_NOT_FOUND("there is no order 5")`."""

    code: int
    name: str
    means: str  # for the catalogue of errors, docs/errors.md

    def __call__(
        self, message: str, *, field: str | None = None, retry_after_s: float | None = None, **metadata: object
    ) -> Error:
        """Make the error; `field` names the request's field at fault, metadata is for programs."""
        return Error(
            self.code,
            self.name,
            message,
            fields=[(field, message)] if field else [],
            metadata={key: str(value) for key, value in metadata.items()},
            retry_after_s=retry_after_s,
        )


INVALID_FIELD = Reason(
    code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", "a field breaks a rule of the contract; BadRequest names it"
)
MALFORMED_REQUEST = Reason(
    code_pb2.INVALID_ARGUMENT, "MALFORMED_REQUEST", "the bytes are not the message that the method takes"
)
REQUEST_ID_CONFLICT = Reason(
    code_pb2.INVALID_ARGUMENT, "REQUEST_ID_CONFLICT", "`request_id` and `idempotency-key` are both given and differ"
)
REQUEST_ID_REUSED = Reason(
    code_pb2.ALREADY_EXISTS, "REQUEST_ID_REUSED", "the request id came before with another request"
)
TOKEN_MISSING = Reason(code_pb2.UNAUTHENTICATED, "TOKEN_MISSING", "the call needs a token")
TOKEN_INVALID = Reason(code_pb2.UNAUTHENTICATED, "TOKEN_INVALID", "the token is none of ours, or not for this service")
TOKEN_EXPIRED = Reason(code_pb2.UNAUTHENTICATED, "TOKEN_EXPIRED", "the token has expired: refresh it")
NOT_ALLOWED = Reason(
    code_pb2.PERMISSION_DENIED, "NOT_ALLOWED", "this kind of caller, or one without the role, may not call that"
)
NOT_YOURSELF = Reason(code_pb2.PERMISSION_DENIED, "NOT_YOURSELF", "`user` names another person")
FOR_SERVICES_ONLY = Reason(
    code_pb2.INVALID_ARGUMENT,
    "FOR_SERVICES_ONLY",
    "a person gave what services alone may say: names, prices, the currency of an order",
)
OVERLOADED = Reason(
    code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", "more waits than can be done soon; RetryInfo says when to try again"
)
DATABASE_UNAVAILABLE = Reason(code_pb2.UNAVAILABLE, "DATABASE_UNAVAILABLE", "the database does not answer; try again")
PEER_UNAVAILABLE = Reason(code_pb2.UNAVAILABLE, "PEER_UNAVAILABLE", "another service does not answer; try again")
TIMEOUT = Reason(
    code_pb2.UNAVAILABLE, "TIMEOUT", "it took longer than the service allows; try again with the same request id"
)
DEADLINE_EXCEEDED = Reason(code_pb2.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "it took longer than the caller allowed")
INTERNAL = Reason(code_pb2.INTERNAL, "INTERNAL", "an error of ours; its text is in the log")


def to_status(error: Error) -> status_pb2.Status:
    """Turn an error into what goes over the wire."""
    status = status_pb2.Status(code=error.code, message=error.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata))
    if error.fields:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=name, description=text) for name, text in error.fields
        ]
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def from_status(status: status_pb2.Status) -> Error | None:
    """Turn what came over the wire back into the same error; None where it carries no reason of ours."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, bad, retry):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    if info.domain != DOMAIN:
        return None
    return Error(
        status.code,
        info.reason,
        status.message,
        fields=[(violation.field, violation.description) for violation in bad.field_violations],
        metadata=info.metadata,
        retry_after_s=retry.retry_delay.ToMilliseconds() / 1000 if retry.HasField("retry_delay") else None,
    )
