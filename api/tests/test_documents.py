"""The other documents made of the contracts: topics, the collection, the catalogue of errors."""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import protovalidate
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import code_pb2
from jsonschema import Draft202012Validator

import kit.errors
from deploy import contracts
from deploy.gateway.replies import REPLIES
from deploy.native.parts import REPO, SERVICES
from kit import json as event_json
from kit.calls import access_of
from kit.client import service_of
from kit.errors import Reason

API = REPO / "api"
COLLECTION = API / "collection"
TOPICS = json.loads((API / "asyncapi.json").read_text())
RPCS = [rpc for service in contracts.services(SERVICES) for rpc in service.methods]


def test_every_topic_is_told() -> None:
    """The document has the topics of the contracts with their partitions, and no other."""
    wanted = {(topic.name, topic.partitions) for topic in contracts.topics(SERVICES)}
    told = {(name, one["bindings"]["kafka"]["partitions"]) for name, one in TOPICS["channels"].items()}
    assert wanted == told


def payload_schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(
        {**TOPICS["components"]["messages"][name]["payload"], "components": TOPICS["components"]}
    )


@pytest.mark.parametrize("name", TOPICS["components"]["messages"])
def test_events_are_as_told(name: str) -> None:
    """What kit.json writes of an event, full or empty, is what the schema says, and its example can be read."""
    told = TOPICS["components"]["messages"][name]
    message_type = event_type(told["name"])
    (example,) = told["examples"]
    event = event_json.loads(message_type, json.dumps(example["payload"]).encode())
    payload_schema(name).validate(json.loads(event_json.dumps(event)))
    payload_schema(name).validate(example["payload"])
    assert not protovalidate.collect_violations(event)


def event_type(full_name: str) -> Any:
    package, _, name = full_name.rpartition(".")
    module = importlib.import_module(f"{package}.events_pb2")
    return getattr(module, name)


def test_the_collection_has_every_route_and_every_rpc() -> None:
    """One file a route at least, one an RPC; all in the folder of their service."""
    bindings = {one.rpc for service in contracts.services(SERVICES) for one in contracts.bindings(service)}
    for rpc in RPCS:
        folder = COLLECTION / service_of(rpc.containing_service.full_name)
        assert (folder / "grpc" / f"{rpc.name}.bru").exists()
        assert (rpc in bindings) == (folder / f"{rpc.name[0].lower()}{rpc.name[1:]}.bru").exists()


def block(path: Path, name: str) -> str:
    """The lines of a block of a .bru file."""
    found = re.search(rf"^{name} {{\n(.*?)^}}", path.read_text(), re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


@pytest.mark.parametrize("rpc", RPCS, ids=lambda rpc: rpc.name)
def test_grpc_requests_hold(rpc: MethodDescriptor) -> None:
    """The message of each gRPC request is one that the contract takes, with the names of the contract."""
    path = COLLECTION / service_of(rpc.containing_service.full_name) / "grpc" / f"{rpc.name}.bru"
    message = json.loads(block(path, "body:grpc").partition("'''")[2].partition("'''")[0])
    request = message_factory.GetMessageClass(rpc.input_type)()
    json_format.ParseDict(message, request)
    if access_of(rpc).owner == "user":
        request.user = 1  # the caller's own, where it is left out
    assert not protovalidate.collect_violations(request)
    assert set(message) <= {field.name for field in rpc.input_type.fields}
    assert f"method: /{rpc.containing_service.full_name}/{rpc.name}\n" in block(path, "grpc")


def test_paths_of_the_collection_lead_somewhere() -> None:
    """The proto files that requests and the collection name are there."""
    named = re.findall(r"protoPath: (.*)", "\n".join(path.read_text() for path in COLLECTION.rglob("*.bru")))
    described = json.loads((COLLECTION / "bruno.json").read_text())["protobuf"]
    named += [one["path"] for one in (*described["protoFiles"], *described["importPaths"])]
    assert named
    for path in set(named):
        assert (COLLECTION / path).exists(), path


def reasons(module: ModuleType) -> list[Reason]:
    return [value for value in vars(module).values() if isinstance(value, Reason)]


def test_every_reason_is_in_the_catalogue() -> None:
    """The catalogue names each reason with its code and its meaning under who answers it, and no other."""
    told = {
        (owner, *cells)
        for owner, section in sections((REPO / "docs" / "errors.md").read_text()).items()
        for cells in section
    }
    modules = {path.parent.name: importlib.import_module(f"{path.parent.name}.errors") for path in error_tables()}
    known = {
        (owner, row.name, code_pb2.Code.Name(row.code), row.means)
        for owner, module in {"every service": kit.errors, **modules}.items()
        for row in reasons(module)
    }
    named = {name for _, name, *_ in known}
    known |= {
        ("the gateway", row.reason, code_pb2.Code.Name(row.code), row.message)
        for row in REPLIES
        if row.reason not in named
    }
    assert {row[:3] for row in known} == {row[:3] for row in told}
    assert told <= known


def sections(catalogue: str) -> dict[str, list[tuple[str, str, str]]]:
    """Reason, code and meaning of each row, by whose they are."""
    found = {}
    for section in catalogue.split("\n## Of ")[1:]:
        rows = [row.split(" | ") for row in section.splitlines() if re.match(r"\| [A-Z]", row)]
        found[section.partition("\n")[0]] = [(row[0].removeprefix("| "), row[1], row[3]) for row in rows]
    return found


def error_tables() -> list[Path]:
    return sorted((REPO / "services").glob("*/errors.py"))
