"""What the rules of a contract become in a document, shown on small contracts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.plugins import asyncapi, examples
from api.plugins.contract import ContractError
from api.plugins.openapi import OpenApi
from api.plugins.schemas import Form, Schemas, decimals

# A declaration, and what a request may say there; the zero is refused where it stands in `required`.
RULES = {
    "string s = 1 [(buf.validate.field).string = {min_len: 1 max_len: 5}];": (
        {"type": "string", "minLength": 1, "maxLength": 5},
        True,
    ),
    'string s = 1 [(buf.validate.field).string.pattern = "^[a-z]+$"];': (
        {"type": "string", "pattern": "^[a-z]+$"},
        True,
    ),
    'string s = 1 [(buf.validate.field).string.pattern = "^[a-z]*$"];': (
        {"type": ["string", "null"], "pattern": "^[a-z]*$"},
        False,
    ),
    'string s = 1 [(buf.validate.field).string = {in: ["", "a"]}];': (
        {"type": ["string", "null"], "enum": ["", "a", None]},
        False,
    ),
    # RE2's spelling of a letter beyond ASCII, and ECMA's.
    'string s = 1 [(buf.validate.field).string.pattern = "^[^\\\\x{2028}]*$"];': (
        {"type": ["string", "null"], "pattern": "^[^\\u2028]*$"},
        False,
    ),
    "uint32 s = 1 [(buf.validate.field).uint32 = {gt: 0 lte: 9}];": (
        {"type": "integer", "format": "uint32", "minimum": 1, "maximum": 9},
        True,
    ),
    "optional int32 s = 1 [(buf.validate.field).int32.gt = 0];": (
        {"type": ["integer", "null"], "format": "int32", "minimum": 1, "maximum": 2147483647},
        False,
    ),
    "int64 s = 1 [(buf.validate.field).int64 = {gte: 0 lte: 19}];": (
        {
            "anyOf": [
                {"type": "string", "pattern": "^(?:0|[1-9][0-9]{0,0}|1[0-8]|19)$"},
                {"type": "integer", "format": "int64", "minimum": 0, "maximum": 19},
                {"type": "null"},
            ]
        },
        False,
    ),
    "Size s = 1 [(buf.validate.field).enum = {defined_only: true not_in: [0]}];": (
        {"type": "string", "enum": ["SIZE_BIG"]},
        True,
    ),
    "Size s = 1 [(buf.validate.field).enum.defined_only = true];": (
        {"type": ["string", "null"], "enum": ["SIZE_UNSPECIFIED", "SIZE_BIG", None]},
        False,
    ),
    "repeated bool s = 1 [(buf.validate.field).repeated = {min_items: 1 max_items: 3}];": (
        {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
        True,
    ),
    'map<string, string> s = 1 [(buf.validate.field).map = {max_pairs: 2 keys: {string: {pattern: "^a$"}}}];': (
        {
            "type": ["object", "null"],
            "additionalProperties": {"type": "string"},
            "maxProperties": 2,
            "propertyNames": {"type": "string", "pattern": "^a$"},
        },
        False,
    ),
    "google.protobuf.Timestamp s = 1;": ({"type": ["string", "null"], "format": "date-time"}, False),
    "google.protobuf.Timestamp s = 1 [(buf.validate.field).required = true];": (
        {"type": "string", "format": "date-time"},
        True,
    ),
}
SIZE = "enum Size { SIZE_UNSPECIFIED = 0; SIZE_BIG = 1; }\n"


@pytest.mark.parametrize("declaration", RULES)
def test_rules_are_told(small, declaration):
    """Each rule stands in the schema; what must be given is required, the rest may be null."""
    contracts = small(f"{SIZE}message A {{ {declaration} }}")
    schema = Schemas(contracts, Form.REQUEST).message(contracts.pool.FindMessageTypeByName("abacus.toys.v1.A"))
    wanted, required = RULES[declaration]
    assert wanted == schema["properties"]["s"]
    assert required == (["s"] == schema.get("required", []))
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    "declaration",
    [
        'string s = 1 [(buf.validate.field).string.prefix = "a"];',
        'string s = 1 [(buf.validate.field).cel = {id: "a" expression: "this != \'b\'" message: "not b"}];',
        "bytes s = 1;",
        "double s = 1;",
    ],
)
def test_what_cannot_be_told_is_refused(small, declaration):
    """A document that leaves a rule out would not be true."""
    contracts = small(f"message A {{ {declaration} }}")
    with pytest.raises(ContractError, match=r"abacus\.toys\.v1\.A\.s"):
        Schemas(contracts, Form.REQUEST).message(contracts.pool.FindMessageTypeByName("abacus.toys.v1.A"))


def test_answers_have_all_that_cannot_be_unset(small):
    """Zeros are printed, unset messages and optionals are not; 64 bits are text."""
    contracts = small("message A { int64 a = 1; optional int32 b = 2; A c = 3; repeated string d = 4; }")
    schema = Schemas(contracts, Form.ANSWER).message(contracts.pool.FindMessageTypeByName("abacus.toys.v1.A"))
    assert ["a", "d"] == schema["required"]
    assert "string" == schema["properties"]["a"]["type"]
    assert "additionalProperties" not in schema


@given(st.data())
def test_decimals_are_those_of_the_range(data):
    """The pattern takes the whole numbers between the bounds, as they are written, and no other text."""
    minimum = data.draw(st.sampled_from([0, 1, -1, -17, -(2**63)]))
    maximum = data.draw(st.integers(1, 2**64 - 1))
    number = data.draw(st.integers(minimum - 20, maximum + 20) | st.integers(-30, 30))
    pattern = decimals(minimum, maximum)
    assert (minimum <= number <= maximum) == bool(re.search(pattern, str(number)))
    assert not re.search(pattern, f"0{number}")


ROUTE = """
// Plays with toys. Errors of every call: OVERLOADED.
service ToysService {
  // Wraps a toy for `child_name`. Slowly, e.g.
  // at night. Errors: %s.
  //
  // Twice, if need be.
  // buf:lint:ignore RPC_REQUEST_STANDARD_NAME
  rpc Wrap(WrapRequest) returns (WrapResponse) {
    option (abacus.access.v1.access) = { owner: "user" services: ["local"] };
    option (google.api.http) = { post: "/api/v1/toys/{toy_id}/wrap" body: "*" };
  }
  // Shows.
  rpc Show(WrapRequest) returns (ShowResponse) {
    option (abacus.access.v1.access) = { public: true };
    option (google.api.http) = { get: "/api/v1/toys/{toy_id}" response_body: "toy" };
  }
}
message WrapRequest {
  int64 user = 1 [(buf.validate.field).int64.gt = 0];
  // Which.
  uint32 toy_id = 2 [(buf.validate.field).uint32 = {gt: 0 example: 7}];
  string request_id = 3;
  string language = 4;
  string paper = 5 [(abacus.access.v1.services_only) = true];
  repeated string bow_colors = 6;
}
message WrapResponse {}
message ShowResponse { Toy toy = 1; }
message Toy { string name = 1 [(buf.validate.field).string.example = "bear"]; }
"""


def test_a_route_is_told(small):
    """Path, body, headers, who may call, texts: each from its place in the contract."""
    document = OpenApi(small(ROUTE % "REQUEST_ID_REUSED")).document
    wrap = document["paths"]["/api/v1/toys/{toyId}/wrap"]["post"]
    assert "wrap" == wrap["operationId"]
    assert "Wraps a toy for `childName`" == wrap["summary"]
    assert "Wraps a toy for `childName`. Slowly, e.g. at night.\n\nTwice, if need be." in wrap["description"]
    assert "**Who may call:** the person whom `user` names, the service `local`." in wrap["description"]
    assert [{"token": []}] == wrap["security"]
    places = [(one["in"], one["name"]) for one in wrap["parameters"]]
    assert [("path", "toyId"), ("header", "Idempotency-Key"), ("header", "Accept-Language")] == places
    assert 7 == wrap["parameters"][0]["example"]
    body = document["components"]["schemas"]["toys.WrapRequest"]
    assert ["user", "language", "paper", "bowColors"] == list(body["properties"])
    assert "required" not in body  # `user` is filled in
    assert "Services alone may set it" in body["properties"]["paper"]["description"]
    assert "Plays with toys." == document["tags"][0]["description"]


def test_a_route_that_shows_is_told(small):
    """Without a body its fields stand in the query; an answer that is unwrapped is its field."""
    document = OpenApi(small(ROUTE % "REQUEST_ID_REUSED")).document
    show = document["paths"]["/api/v1/toys/{toyId}"]["get"]
    assert [] == show["security"]
    assert "requestBody" not in show
    query = [one["name"] for one in show["parameters"] if one["in"] == "query"]
    assert ["user", "language", "paper", "bowColors"] == query
    answer = show["responses"]["200"]["content"]["application/json"]
    assert {"$ref": "#/components/schemas/toys.Toy"} == answer["schema"]
    assert {"name": "bear"} == answer["example"]


def test_errors_are_those_of_the_call(small):
    """What the comments name, and what kit and the gateway may say to such a call, by HTTP status."""
    document = OpenApi(small(ROUTE % "REQUEST_ID_REUSED")).document
    told = {
        verb: {status: reasons(document, response) for status, response in operation["responses"].items()}
        for verbs in document["paths"].values()
        for verb, operation in verbs.items()
    }
    assert {"REQUEST_ID_REUSED"} == told["post"]["409"]
    assert {"TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED"} == told["post"]["401"]
    assert {"NOT_YOURSELF"} == told["post"]["403"]
    assert "FOR_SERVICES_ONLY" in told["post"]["400"]
    assert {"401", "403"}.isdisjoint(told["get"])
    assert "OVERLOADED" in told["get"]["429"]


def reasons(document, response):
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return set(response["content"]["application/json"].get("examples", ()))


def test_an_error_that_nobody_defines_is_a_problem(small):
    """A comment that promises an error which the service does not have is not true."""
    contracts = small(ROUTE % "TOY_LOST")
    assert OpenApi(contracts).document
    assert ["abacus.toys.v1.ToysService.Wrap names TOY_LOST, which services/toys/errors.py does not have"] == (
        contracts.problems
    )


CHOICE = """
message A {
  option (buf.validate.message).oneof = { fields: ["one", "many"] required: true };
  option (buf.validate.message).oneof = { fields: ["card", "phone"] };
  uint32 one = 1 [(buf.validate.field).uint32.example = 5];
  repeated uint32 many = 2 [(buf.validate.field).repeated.items.uint32.example = 6];
  string card = 3 [(buf.validate.field).string.example = "c"];
  string phone = 4 [(buf.validate.field).string.example = "p"];
}
"""


def test_a_choice_has_an_example_each(small):
    """Of fields of which one must be set each has its example; of those that may be, the first is shown."""
    contracts = small(CHOICE)
    made = examples.requests(contracts.pool.FindMessageTypeByName("abacus.toys.v1.A"))
    assert {"one": {"one": 5, "card": "c"}, "many": {"many": [6], "card": "c"}} == made


def test_a_topic_is_told(small):
    """Address, key, partitions, who publishes and who reads: from the option; the payload as kit.json writes it."""
    document = asyncapi.document(
        small(
            """
            // A toy broke.
            message Broke {
              option (abacus.topics.v1.topic) = {
                name: "abacus.toys.broke.v1" key: "the toy's id" partitions: 2 publisher: "toys"
                readers: "loms" readers: "catalog" };
              int64 toy_id = 1;
              optional string why = 2;
            }
            """
        )
    )
    channel = document["channels"]["abacus.toys.broke.v1"]
    assert 2 == channel["bindings"]["kafka"]["partitions"]
    assert ["loms", "catalog"] == channel["x-readers"]
    assert "send" == document["operations"]["sendBroke"]["action"]
    message = document["components"]["messages"]["Broke"]
    assert "the toy's id" == message["bindings"]["kafka"]["key"]["description"]
    assert "abacus.toys.v1.Broke" == message["headers"]["properties"]["type"]["const"]
    payload = document["components"]["schemas"]["toys.Broke"]
    assert "integer" == payload["properties"]["toyId"]["type"]
    assert ["toyId"] == payload["required"]
