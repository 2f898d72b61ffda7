"""The OpenAPI document is true: what it says of requests is what the contracts take, and its examples hold."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import protovalidate
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from deploy import contracts
from deploy.native.parts import SERVICES
from kit.calls import access_of

DOCUMENT = json.loads((Path(__file__).parents[1] / "openapi.json").read_text())
RPCS = {
    f"{rpc.containing_service.full_name}/{rpc.name}": rpc for one in contracts.services(SERVICES) for rpc in one.methods
}
AT = "urn:openapi"
REGISTRY: Registry[Any] = Registry().with_resource(
    AT, Resource.from_contents({"$schema": "https://json-schema.org/draft/2020-12/schema", **DOCUMENT})
)


@dataclass(frozen=True)
class Route:
    """An operation of the document and its RPC."""

    path: str
    verb: str
    told: dict[str, Any]

    @property
    def rpc(self) -> MethodDescriptor:
        return RPCS[self.told["x-rpc"]]

    @property
    def body(self) -> dict[str, Any] | None:
        content = self.told.get("requestBody", {"content": {}})["content"]
        return content.get("application/json")

    @property
    def given(self) -> dict[str, Any]:
        """What parameters say by their examples."""
        return {
            one["name"]: one["example"]
            for one in self.told.get("parameters", ())
            if "example" in one
            if one["in"] != "header"
        }

    def is_taken(self, request: dict[str, Any]) -> bool:
        """Whether the contract takes a request; a person's own number is filled in."""
        message: Any = message_factory.GetMessageClass(self.rpc.input_type)()
        try:
            json_format.ParseDict(request, message)
        except json_format.ParseError:
            return False
        if access_of(self.rpc).owner == "user":
            message.user = message.user or 1
        return not protovalidate.collect_violations(message)

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


ROUTES = [Route(path, verb, told) for path, verbs in DOCUMENT["paths"].items() for verb, told in verbs.items()]
WITH_BODY = [route for route in ROUTES if route.body]
every_route = pytest.mark.parametrize("route", ROUTES, ids=str)
every_body = pytest.mark.parametrize("route", WITH_BODY, ids=str)


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(_absolute(schema), registry=REGISTRY)


def _absolute(schema: Any) -> Any:
    """References of the document, seen from a part of it."""
    if isinstance(schema, dict):
        return {key: AT + value if key == "$ref" else _absolute(value) for key, value in schema.items()}
    return [_absolute(one) for one in schema] if isinstance(schema, list) else schema


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found = DOCUMENT
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_every_route_is_told() -> None:
    """The document has the routes of the contracts, each once, and no other."""
    bindings = [one for service in contracts.services(SERVICES) for one in contracts.bindings(service)]
    wanted = {(one.verb.lower(), one.template.count("/"), one.rpc.full_name) for one in bindings}
    assert wanted == {(route.verb, route.path.count("/"), route.rpc.full_name) for route in ROUTES}
    assert len(bindings) == len({route.told["operationId"] for route in ROUTES})


@every_route
def test_request_examples_hold(route: Route) -> None:
    """Each example of a request is one that the contract takes, with those of path and query; the schema agrees."""
    examples = [one["value"] for one in route.body["examples"].values()] if route.body else [{}]
    assert examples
    for example in examples:
        if route.body:
            validator(route.body["schema"]).validate(example)
        assert route.is_taken(example | route.given), example
    for parameter in route.told.get("parameters", ()):
        if "example" in parameter:
            validator(parameter["schema"]).validate(parameter["example"])
        assert "example" in parameter or not parameter.get("required"), parameter["name"]


@every_route
def test_answer_examples_hold(route: Route) -> None:
    """Each example of an answer is one by its schema; an error's names a reason of its response."""
    for status, response in route.told["responses"].items():
        for kind, content in resolved(response)["content"].items():
            examples = [one["value"] for one in content.get("examples", {}).values()]
            examples += [content["example"]] if "example" in content else []
            assert examples or kind == "image/svg+xml", status
            for example in examples:
                validator(content["schema"]).validate(example)


def test_an_error_of_another_call_is_not_taken() -> None:
    """The schema of an error holds a call to the reasons that it names."""
    orders = DOCUMENT["paths"]["/api/v1/orders/{orderId}"]["get"]["responses"]
    schema = validator(orders["404"]["content"]["application/json"]["schema"])
    other = resolved(orders["429"])["content"]["application/json"]["examples"]["OVERLOADED"]["value"]
    assert not schema.is_valid(other)


def variants(schema: dict[str, Any], example: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The example with one field gone, null, empty, or just outside of a bound."""
    for name, told in schema["properties"].items():
        rest = {key: value for key, value in example.items() if key != name}
        yield rest
        for value in (None, *_edges(resolved(told))):
            yield rest | {name: value}


def _edges(schema: dict[str, Any]) -> Iterator[Any]:
    for one in schema.get("anyOf", ()):
        yield from _edges(resolved(one))
    kinds = schema.get("type", ())
    if "integer" in kinds:
        yield from (0, schema["minimum"], schema["maximum"], schema["minimum"] - 1, schema["maximum"] + 1)
    if "string" in kinds:
        longest = schema.get("maxLength", 64)
        yield from (
            "",
            "a",
            "ё" * longest,
            "a" * (longest + 1),
            "\x00",
            "\x85",
            "\u2028",
            *filter(None, schema.get("enum", ())),
        )
        if "enum" not in schema:
            yield from ("0", "1", "-1", "9223372036854775807", "9223372036854775808")
    if "array" in kinds:
        yield from ([], [None])
    if "object" in kinds:
        yield from ({}, {"a": "b"}, {"A": "b"}, {f"a{'b' * number}": "" for number in range(21)})


@every_body
def test_schema_and_contract_agree_at_the_edges(route: Route) -> None:
    """What lies just inside and just outside of each rule is taken by both or by neither."""
    assert route.body
    schema = validator(route.body["schema"])
    told = resolved(route.body["schema"])
    for example in (one["value"] for one in route.body["examples"].values()):
        for variant in variants(told, example):
            if _only_python_takes(told, variant):
                continue
            assert schema.is_valid(variant) == route.is_taken(variant | route.given), variant


def _only_python_takes(schema: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a field has what json_format takes and the gateway does not: 32 bits as text, null in lists."""
    for name, value in body.items():
        told = resolved(schema["properties"][name])
        if value == [None] or (isinstance(value, str) and "integer" in told.get("type", ())):
            return True
    return False


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema of a request allows, all of it."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return st.one_of([values(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_of_kind(kind, schema) for kind in kinds])


def _of_kind(kind: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "null":
        return st.none()
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if kind == "string":
        return _text(schema)
    if kind == "array":
        most = min(schema.get("maxItems", 3), 3)
        return st.lists(
            values(schema["items"]),
            min_size=schema.get("minItems", 0),
            max_size=most,
            unique=schema.get("uniqueItems", False),
        )
    if "additionalProperties" in schema and "properties" not in schema:
        return st.dictionaries(
            _text(schema.get("propertyNames", {})), values(schema["additionalProperties"]), max_size=3
        )
    fields = {name: values(told) for name, told in schema["properties"].items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    return st.fixed_dictionaries(required, optional=fields)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 100)
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(lambda text: least <= len(text) <= most)
    return st.text(st.characters(codec="utf-8"), min_size=least, max_size=most)


@every_body
def test_what_the_schema_allows_the_contract_takes(route: Route) -> None:
    """Nothing that the document allows breaks a rule."""
    assert route.body
    schema = validator(route.body["schema"])

    @settings(max_examples=30, database=None, suppress_health_check=list(HealthCheck))
    @given(values(route.body["schema"]).filter(schema.is_valid))
    def check(body: dict[str, Any]) -> None:
        assert route.is_taken(body | route.given)

    check()


def test_schemas_are_schemas() -> None:
    """Each named schema is one of JSON schema."""
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
