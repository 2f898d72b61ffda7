"""The catalogue of errors, docs/errors.md."""

from http import HTTPStatus

from google.rpc import code_pb2

from api.plugins.contract import GATEWAY, HTTP, ContractError, Contracts, Failure, at_the_gateway, reasons_of
from kit.client import service_of

_HEAD = """\
# Errors

Made by `make generate` of `libs/kit/errors.py`, `services/*/errors.py`, `deploy/gateway/replies.py` and the comments of
the RPCs in `api/proto`; do not edit.

Every error has a gRPC code and a stable reason, in `google.rpc.ErrorInfo` (domain `abacus`). Programs decide by the
reason: messages are for people and may change. `BadRequest` names the field at fault (`items[1].count`), `RetryInfo`
says when to try again, `ErrorInfo.metadata` carries what a program needs: the tables say what. Unknown failures leave
as INTERNAL without their text.

Through the gateway an error is the same as JSON, with the HTTP status of its code; `BadRequest` and the beginning of
the message name fields as JSON does (`items[1].salePrice`), and `retry-after` stands beside `RetryInfo`. So is a cart
told that it cannot hold so many units:

```json
{
  "code": 9,
  "message": "sku 1001: 5 wanted, 3 available",
  "details": [
    {
      "@type": "type.googleapis.com/google.rpc.ErrorInfo",
      "reason": "OUT_OF_STOCK",
      "domain": "abacus",
      "metadata": {"sku": "1001", "wanted": "5", "available": "3"}
    }
  ]
}
```

| gRPC code | HTTP |
|---|---|
"""
# Which calls answer what kit and the gateway say; a service's reasons stand in the comments of its RPCs.
_WHERE = {
    "INVALID_FIELD": "every call that takes fields",
    "MALFORMED_REQUEST": "every call",
    "REQUEST_ID_CONFLICT": "every call with a request id",
    "REQUEST_ID_REUSED": "every call with a request id",
    "TOKEN_MISSING": "every call that is not for everybody",
    "TOKEN_INVALID": "every call that is not for everybody",
    "TOKEN_EXPIRED": "every call that is not for everybody",
    "NOT_ALLOWED": "every call that is not for everybody",
    "NOT_YOURSELF": "every call that is for the `user` named",
    "FOR_SERVICES_ONLY": "calls with fields that services alone may set",
    "OVERLOADED": "every call",
    "DATABASE_UNAVAILABLE": "every call",
    "PEER_UNAVAILABLE": "every call",
    "TIMEOUT": "every call",
    "DEADLINE_EXCEEDED": "every call",
    "INTERNAL": "every call",
    "ROUTE_NOT_FOUND": "paths that no route has",
    "METHOD_NOT_ALLOWED": "paths that have other methods",
    "MEDIA_TYPE_UNSUPPORTED": "every route with a body",
    "REQUEST_TOO_LARGE": "every route",
    "REQUEST_TIMEOUT": "every route with a body",
    "TOO_MANY_REQUESTS": "every call",
    "NOT_IMPLEMENTED": "routes that are planned",
}


def markdown(contracts: Contracts) -> str:
    """Return the page; it is a problem where no RPC names a reason that its service has.

    Raises:
        ContractError: it is not said which calls answer a reason of kit's or the gateway's.
    """
    codes = [f"| {code_pb2.Code.Name(code)} | {status.value} {status.phrase} |" for code, status in HTTP.items()]
    parts = [_HEAD + "\n".join(codes)]
    parts.append(_section("Of every service", [(one, _where(one)) for one in reasons_of("kit").values()]))
    parts.append(_section("Of the gateway", [(one, _where(one)) for one in reasons_of(GATEWAY).values()]))
    for service in contracts.services:
        owner = service_of(service.full_name)
        own = reasons_of(owner)
        answered: dict[str, list[str]] = {reason: [] for reason in own}
        for rpc in service.methods:
            for failure in contracts.failures(rpc):
                if failure.of == owner:
                    answered[failure.reason].append(rpc.name)
        for reason in (reason for reason, rpcs in answered.items() if not rpcs):
            contracts.note(f"services/{owner}/errors.py has {reason}, which no comment of an RPC of {owner} names")
        if own:
            parts.append(_section(f"Of {owner}", [(own[reason], ", ".join(answered[reason])) for reason in own]))
    return "\n\n".join(parts) + "\n"


def _where(failure: Failure) -> str:
    if failure.reason not in _WHERE:
        raise ContractError(f"{failure.reason}: say in api/plugins/catalogue.py which calls answer it")
    return _WHERE[failure.reason]


def _section(title: str, rows: list[tuple[Failure, str]]) -> str:
    lines = [f"## {title}", "", "| reason | gRPC code | HTTP | means | answered by |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.reason} | {code_pb2.Code.Name(one.code)} | {_statuses(one)} | {one.means} | {where} |"
        for one, where in rows
    ]
    return "\n".join(lines)


def _statuses(failure: Failure) -> str:
    """The gateway may have several for one reason."""
    found = {one.http for one in at_the_gateway() if one.reason == failure.reason} or {failure.http}
    return ", ".join(str(HTTPStatus(status).value) for status in sorted(found))
