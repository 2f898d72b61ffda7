"""OpenAPI 3.1 of the REST routes."""

from http import HTTPStatus
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from api.plugins import examples
from api.plugins.contract import (
    ContractError,
    Contracts,
    Failure,
    at_the_door,
    camel,
    first_sentence,
    for_json,
    group,
    reasons_of,
    who,
)
from api.plugins.schemas import Form, Schema, Schemas, refuses_zero
from deploy.contracts import Binding
from deploy.gateway.replies import RETRY_AFTER_S
from kit.calls import access_of
from kit.client import service_of
from kit.errors import DOMAIN

GATEWAY = "http://127.0.0.1:8080"
PICTURE = "image/svg+xml"  # what a google.api.HttpBody holds: the contracts have pictures only
IDEMPOTENCY_KEY = "Idempotency-Key"  # carries the field request_id
REQUEST_ID, LANGUAGE = "request_id", "language"
_TYPE = "type.googleapis.com/google.rpc."
_RETRIES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_DESCRIPTION = """\
The order backend of an online shop. Each route is one RPC of the contracts in `api/proto`, as JSON; this document is \
made of them.

- **Money** is in minor units (kopecks) with a currency. **Times** are RFC 3339, UTC.
- **Whole numbers of 64 bits** are strings in answers; requests may have them as strings or as numbers.
- **Requests**: JSON with no other fields than those named here; `null` stands for a field that is left out. What is \
the caller's own (`user`) may be left out.
- **Answers** have every field but those that may be unset; they may get more fields, which a client ignores.
- **Repeats**: a call with an `Idempotency-Key` may be repeated: one effect, and each time the first answer.
- **Changes** take the `version` that the caller saw, and are refused where it is not the last one, unless what is \
asked has happened already.
- **Pages**: `pageSize`, then `pageToken` = `nextPageToken` of the page before.
- **Errors** have a stable `reason` each; programs decide by it, not by the message. Unknown failures are INTERNAL.
- **Sign in** by `/api/v1/auth/login/email` or `/api/v1/auth/register/email`, and give the `accessToken`: \
`Authorization: Bearer …`. It lasts five minutes; `/api/v1/auth/refresh` gives the next one.
"""


class OpenApi:
    """The document of all routes; `document` is made at once.

    Args:
        contracts: what it is made of.
    """

    def __init__(self, contracts: Contracts):
        self.contracts = contracts
        self.inputs = Schemas(contracts, Form.REQUEST)
        self.parameters = Schemas(contracts, Form.PARAMETER)
        self.outputs = Schemas(contracts, Form.ANSWER)
        self.responses: dict[str, Schema] = {}
        self.paths: dict[str, dict[str, Any]] = {}
        for binding in contracts.bindings:
            path = camel_path(binding.template)
            self.paths.setdefault(path, {})[binding.verb.lower()] = self._operation(binding)
        self.document = self._document()

    def _document(self) -> dict[str, Any]:
        routed = {binding.rpc.containing_service.full_name for binding in self.contracts.bindings}
        services = [service for service in self.contracts.services if service.full_name in routed]
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Abacus",
                "version": "1",
                "summary": "Orders, products, stock, accounts and messages of an online shop",
                "description": _DESCRIPTION,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [
                {"url": "/", "description": "where this document was read"},
                {"url": GATEWAY, "description": "the gateway as `make run-all` starts it"},
            ],
            "tags": [
                {
                    "name": service_of(service.full_name),
                    "description": for_json(self.contracts.comment(service)),
                }
                for service in services
            ],
            "paths": self.paths,
            "components": {
                "securitySchemes": {
                    "token": {
                        "type": "http",
                        "scheme": "bearer",
                        "bearerFormat": "JWT",
                        "description": "The access token that signing in gave.",
                    }
                },
                "schemas": dict(
                    sorted((self.inputs.named | self.outputs.named | {"Error": error_schema(self.contracts)}).items())
                ),
                "responses": dict(sorted(self.responses.items())),
            },
        }

    def _operation(self, binding: Binding) -> dict[str, Any]:
        rpc = binding.rpc
        access = access_of(rpc)
        comment = for_json(self.contracts.comment(rpc))
        operation: dict[str, Any] = {
            "operationId": rpc.name[0].lower() + rpc.name[1:],
            "tags": [service_of(rpc.full_name)],
            "summary": first_sentence(comment),
            "description": f"{comment}\n\n**Who may call:** {who(access)}.",
            "x-rpc": f"{rpc.containing_service.full_name}/{rpc.name}",
            "x-access": {field.name: _plain(found) for field, found in access.ListFields()},
            "security": [] if access.public else [{"token": []}],
        }
        if parameters := self._parameters(binding):
            operation["parameters"] = parameters
        if binding.body:
            operation["requestBody"] = self._body(binding)
        operation["responses"] = {"200": self._answer(binding), **self._failures(binding)}
        return operation

    def _parameters(self, binding: Binding) -> list[Schema]:
        fields = binding.rpc.input_type.fields_by_name
        in_path = [field for field in binding.rpc.input_type.fields if field.name in binding.in_path]
        in_query = [
            field
            for field in binding.rpc.input_type.fields
            if field.name in binding.in_query and field.name != REQUEST_ID
        ]
        found = [self._parameter(field, "path", required=True) for field in in_path]
        found += [self._parameter(field, "query", required=self.parameters.is_required(field)) for field in in_query]
        if REQUEST_ID in fields:
            found.append(_idempotency_key(required=refuses_zero(fields[REQUEST_ID])))
        if LANGUAGE in fields:
            found.append(_ACCEPT_LANGUAGE)
        return found

    def _parameter(self, field: FieldDescriptor, place: str, *, required: bool) -> Schema:
        parameter: dict[str, Any] = {"name": field.json_name, "in": place}
        if text := self.parameters.text(field):
            parameter["description"] = text
        if required:
            parameter["required"] = True
        if field.is_repeated:
            parameter |= {"style": "form", "explode": True}
        parameter["schema"] = self.parameters.value(field)
        example = examples.given(field, Form.REQUEST)
        if example is None and required:
            example = examples.value(field, Form.REQUEST)
        if example is not None:
            example = int(example) if parameter["schema"]["type"] == "integer" else example
            parameter["example"] = [example] if field.is_repeated else example
        return parameter

    def _body(self, binding: Binding) -> Schema:
        message = binding.rpc.input_type
        without = frozenset(field.name for field in message.fields if field.name in binding.in_path) | {REQUEST_ID}
        name = f"{service_of(message.full_name)}.{message.name}"
        schema = self.inputs.message(message, without)
        if self.inputs.named.setdefault(name, schema) != schema:
            raise ContractError(f"{message.full_name} has several forms in REST: it needs names for them")
        filled_in = {field.name for field in message.fields if field.full_name in self.contracts.filled_in}
        made = examples.requests(message, without | filled_in)
        return {
            "required": "required" in schema or len(made) > 1,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{name}"},
                    "examples": {key: {"value": example} for key, example in made.items()},
                }
            },
        }

    def _answer(self, binding: Binding) -> Schema:
        message = binding.rpc.output_type
        if message.full_name == "google.api.HttpBody":
            return {"description": "OK", "content": {PICTURE: {"schema": {"type": "string"}}}}
        if binding.unwraps:
            schema = self.outputs.value(message.fields[0])
            example = examples.value(message.fields[0], Form.ANSWER)
        else:
            schema, example = self.outputs.reference(message), examples.answer(message)
        return {"description": "OK", "content": {"application/json": {"schema": schema, "example": example}}}

    def _failures(self, binding: Binding) -> dict[str, Schema]:
        owner = service_of(binding.rpc.full_name)
        # Its own first: what a service says of a reason is more than what kit says.
        found = group([*self.contracts.failures(binding.rpc), *at_the_door(binding)])
        responses = {}
        for status, failures in found.items():
            response = _failure(status, failures)
            if all(failure.of != owner for failure in failures):
                name = ".".join([str(status), *sorted(failure.reason for failure in failures)])
                self.responses[name] = response
                response = {"$ref": f"#/components/responses/{name}"}
            responses[str(status)] = response
        return responses


def camel_path(template: str) -> str:
    """A path with its variables as JSON spells them."""
    return "/".join(camel(part) if part.startswith("{") else part for part in template.split("/"))


def error_schema(contracts: Contracts) -> Schema:
    """The schema of every error's body: google.rpc.Status with our reason in ErrorInfo."""
    owners = ["kit", "gateway", *(service_of(service.full_name) for service in contracts.services)]
    known = sorted({reason for owner in owners for reason in reasons_of(owner)})
    text = {"type": "string"}
    violation = {"type": "object", "properties": {"field": text, "description": text}, "required": ["field"]}
    kinds: dict[str, Schema] = {
        "ErrorInfo": {
            "reason": {"type": "string", "enum": known},
            "domain": {"type": "string", "const": DOMAIN},
            "metadata": {
                "type": "object",
                "additionalProperties": text,
                "description": "What a program needs to act on it.",
            },
        },
        "BadRequest": {"fieldViolations": {"type": "array", "items": violation, "minItems": 1}},
        "RetryInfo": {"retryDelay": {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?s$"}},
    }
    required = {"ErrorInfo": ["reason", "domain"], "BadRequest": ["fieldViolations"], "RetryInfo": ["retryDelay"]}
    details = [
        {
            "type": "object",
            "properties": {"@type": {"type": "string", "const": _TYPE + kind}, **properties},
            "required": ["@type", *required[kind]],
        }
        for kind, properties in kinds.items()
    ]
    return {
        "type": "object",
        "description": "Why a call was refused or failed. Programs decide by `reason`; `docs/errors.md` lists them.",
        "properties": {
            "code": {"type": "integer", "format": "int32", "description": "The code of gRPC."},
            "message": {"type": "string", "description": "One sentence for people who program."},
            "details": {"type": "array", "items": {"oneOf": details}, "minItems": 1},
        },
        "required": ["code", "message", "details"],
    }


def _failure(status: int, failures: list[Failure]) -> Schema:
    """What a route may answer with one HTTP status: its reasons, what they mean, an example of each."""
    named = {"properties": {"reason": {"enum": [failure.reason for failure in failures]}}, "required": ["reason"]}
    response: Schema = {
        "description": "\n".join(f"- `{failure.reason}`: {failure.means}" for failure in failures),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Error"},
                        {"type": "object", "properties": {"details": {"type": "array", "contains": named}}},
                    ]
                },
                "examples": {failure.reason: {"value": _example(failure)} for failure in failures},
            }
        },
    }
    if status in _RETRIES:
        seconds = {"schema": {"type": "integer", "minimum": 0}, "description": "Seconds to wait before the next try."}
        response["headers"] = {"Retry-After": seconds}
    return response


def _example(failure: Failure) -> dict[str, Any]:
    details: list[dict[str, Any]] = [{"@type": f"{_TYPE}ErrorInfo", "reason": failure.reason, "domain": DOMAIN}]
    if failure.reason == "INVALID_FIELD":
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [{"field": "…", "description": "…"}]})
    if failure.http in _RETRIES:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{RETRY_AFTER_S}s"})
    return {"code": failure.code, "message": failure.means, "details": details}


def _idempotency_key(*, required: bool) -> Schema:
    return {
        "name": IDEMPOTENCY_KEY,
        "in": "header",
        "required": required,
        "description": "A name of the caller's for this call, which may then be repeated: one effect, and each time the"
        " first answer. Another request under the same name is REQUEST_ID_REUSED.",
        # Blanks at its ends do not travel.
        "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,62}[!-~])?$", "minLength": 1, "maxLength": 64},
    }


_ACCEPT_LANGUAGE = {
    "name": "Accept-Language",
    "in": "header",
    "description": "Decides where `language` is not given: `ru` or `en`; Russian where it names neither.",
    "schema": {"type": "string", "pattern": "^[ -~]*$"},
    "example": "en",
}


def _plain(found: Any) -> Any:
    return found if isinstance(found, bool | str) else list(found)
