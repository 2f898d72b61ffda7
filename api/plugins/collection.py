"""A Bruno collection: every REST route and every RPC as a file that can be sent."""

import json
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from api.plugins import examples
from api.plugins.contract import Contracts
from api.plugins.openapi import GATEWAY, IDEMPOTENCY_KEY
from api.plugins.schemas import Form
from kit.calls import access_of
from kit.client import service_of

_PROTO = "../proto"  # seen from the collection


def files(contracts: Contracts, openapi: dict[str, Any]) -> dict[str, str]:
    """Return the collection by path; REST as OpenAPI tells it."""
    found = {
        "bruno.json": _bruno_json(contracts),
        "collection.bru": _blocks(("auth", ["mode: bearer"]), ("auth:bearer", ["token: {{token}}"])),
        "environments/local.bru": _blocks(
            ("vars", [f"base: {GATEWAY}", f"grpc: {GATEWAY.replace('http', 'grpc', 1)}", "token:"])
        ),
    }
    operations = [
        (path, verb, operation) for path, verbs in openapi["paths"].items() for verb, operation in verbs.items()
    ]
    for number, service in enumerate(contracts.services, start=1):
        folder = service_of(service.full_name)
        of_service = [one for one in operations if one[2]["tags"] == [folder]]
        seq = 1
        for path, verb, operation in of_service:
            for name, body in _bodies(operation):
                found[f"{folder}/{name}.bru"] = _rest(seq, name, verb, path, operation, body)
                seq += 1
        found[f"{folder}/folder.bru"] = _folder(folder, number)
        found[f"{folder}/grpc/folder.bru"] = _folder("grpc", seq)
        for at, rpc in enumerate(service.methods, start=1):
            found[f"{folder}/grpc/{rpc.name}.bru"] = _grpc(at, rpc, contracts)
    return dict(sorted(found.items()))


def _bruno_json(contracts: Contracts) -> str:
    protos = sorted({service.file.name for service in contracts.services})
    described = {
        "version": "1",
        "name": "Abacus",
        "type": "collection",
        "ignore": [],
        "protobuf": {
            "protoFiles": [{"path": f"{_PROTO}/{proto}", "type": "file"} for proto in protos],
            "importPaths": [{"path": _PROTO, "enabled": True}],
        },
    }
    return json.dumps(described, indent=2) + "\n"


def _folder(name: str, seq: int) -> str:
    return _blocks(("meta", [f"name: {name}", f"seq: {seq}"]), ("auth", ["mode: inherit"]))


def _bodies(operation: dict[str, Any]) -> list[tuple[str, Any]]:
    """The request's bodies by the name of the file: the first example has the operation's."""
    name = operation["operationId"]
    if "requestBody" not in operation:
        return [(name, None)]
    made = operation["requestBody"]["content"]["application/json"]["examples"]
    return [
        (name if number == 0 else f"{name} {example}", made[example]["value"]) for number, example in enumerate(made)
    ]


def _rest(seq: int, name: str, verb: str, path: str, operation: dict[str, Any], body: Any) -> str:
    parameters = operation.get("parameters", [])
    url = "{{base}}" + path.replace("{", ":").replace("}", "")
    asked = [pair for one in parameters if one["in"] == "query" for pair in _pairs(one)]
    given = "&".join(pair.replace(": ", "=") for pair in asked if not pair.startswith("~"))
    auth = "inherit" if operation["security"] else "none"
    return _blocks(
        ("meta", [f"name: {name}", "type: http", f"seq: {seq}"]),
        (
            verb,
            [
                f"url: {url}{'?' * bool(given)}{given}",
                f"body: {'none' if body is None else 'json'}",
                f"auth: {auth}",
            ],
        ),
        ("params:query", asked),
        ("params:path", [pair for one in parameters if one["in"] == "path" for pair in _pairs(one)]),
        ("headers", [pair for one in parameters if one["in"] == "header" for pair in _pairs(one)]),
        ("body:json", [] if body is None else _lines(body)),
        ("vars:post-response", ["token: res.body.accessToken"] if _signs_in(operation) else []),
        ("docs", operation["description"].splitlines()),
    )


def _pairs(parameter: dict[str, Any]) -> list[str]:
    """`name: value`; ~ turns off what is not needed."""
    off = "" if parameter.get("required") else "~"
    # A repeat is one by the same key only: each sending has its own.
    example = "{{$guid}}" if parameter["name"] == IDEMPOTENCY_KEY else parameter.get("example", "")
    values = example if isinstance(example, list) else [example]
    return [f"{off}{parameter['name']}: {_text(value)}".rstrip() for value in values]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _signs_in(operation: dict[str, Any]) -> bool:
    """Whether the answer has a token, which the requests after it then use."""
    content = operation["responses"]["200"]["content"].get("application/json", {})
    return "accessToken" in content.get("example", {})


def _grpc(seq: int, rpc: MethodDescriptor, contracts: Contracts) -> str:
    filled_in = frozenset(field.name for field in rpc.input_type.fields if field.full_name in contracts.filled_in)
    message = next(iter(examples.requests(rpc.input_type, filled_in, Form.GRPC).values()))
    auth = "none" if access_of(rpc).public else "inherit"
    content = [f"  {line}" for line in _lines(message)]
    return _blocks(
        ("meta", [f"name: {rpc.name}", "type: grpc", f"seq: {seq}"]),
        (
            "grpc",
            [
                "url: {{grpc}}",
                f"method: /{rpc.containing_service.full_name}/{rpc.name}",
                "body: grpc",
                f"auth: {auth}",
                "methodType: unary",
                f"protoPath: {_PROTO}/{rpc.containing_service.file.name}",
            ],
        ),
        ("body:grpc", ["name: request", "content: '''", *content, "'''"]),
        ("docs", contracts.comment(rpc).splitlines()),
    )


def _lines(body: Any) -> list[str]:
    return json.dumps(body, ensure_ascii=False, indent=2).splitlines()


def _blocks(*blocks: tuple[str, list[str]]) -> str:
    """Bruno's own form: blocks of lines, those without lines left out."""
    made = []
    for name, lines in blocks:
        if lines:
            inner = "\n".join(f"  {line}".rstrip() for line in lines)
            made.append(f"{name} {{\n{inner}\n}}\n")
    return "\n".join(made)
