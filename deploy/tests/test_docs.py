"""The documents say what the code says."""

import importlib
import re

import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import ServiceDescriptor

from abacus.access.v1 import access_pb2
from deploy import readme
from deploy.native.parts import REPO, SERVICES, TOPICS
from kit.calls import access_of
from kit.client import service_of
from kit.errors import Reason

CONTRACTS = (REPO / "docs" / "contracts.md").read_text()
README = (REPO / "README.md").read_text()


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading."""
    below = text.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table, heading
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def services() -> list[ServiceDescriptor]:
    modules = [importlib.import_module(f"abacus.{name}.v1.{name}_pb2") for name in SERVICES]
    return [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]


@pytest.mark.parametrize("service", services(), ids=lambda service: service.name)
def test_every_rpc_is_in_the_contracts(service: ServiceDescriptor) -> None:
    """Each table names the RPCs in the order of the contract, who may call, and all errors of the service."""
    table = rows(CONTRACTS, f"### {service.full_name}")
    wanted = [(method.name, who(access_of(method))) for method in service.methods]
    assert wanted == [(rpc, admitted) for rpc, admitted, *_ in table]
    owner = service_of(service.full_name)
    named = {reason for *_, own in table for reason in own.split(", ") if reason}
    errors = vars(importlib.import_module(f"{owner}.errors")).values()
    assert named == {one.name for one in errors if isinstance(one, Reason)}


def who(access: access_pb2.Access) -> str:
    """Whom an RPC admits, in words."""
    owner = {"": "", "user": "the `user` named"}.get(access.owner, f"owner of `{access.owner}`")
    words = (access.public and "everybody", access.user and "any person", owner, access.admin and "admin")
    return ", ".join([word for word in words if word] + [f"`{name}`" for name in access.services])


def test_rpc_comments_name_known_errors() -> None:
    """The contracts' comments name the same errors for an RPC as the document, beside REQUEST_ID_REUSED."""
    for service in services():
        proto = (REPO / "api" / "proto" / service.file.name).read_text()
        everywhere = set(re.findall(r"Errors of every call: (.*)\.", proto))
        for rpc, *_, own in rows(CONTRACTS, f"### {service.full_name}"):
            comment = re.search(rf"((?:  //.*\n)+)  rpc {rpc}\(", proto)
            assert comment, rpc
            text = re.sub(r"\s*//\s*(buf:lint:.*)?", " ", comment[1])
            named = set(re.findall(r"[A-Z]+(?:_[A-Z]+)+", text.partition("Errors:")[2])) | everywhere
            assert named - {"REQUEST_ID_REUSED"} == {reason for reason in own.split(", ") if reason}, rpc


def test_every_topic_is_in_the_contracts() -> None:
    """The table of topics names each topic of the stack with its partitions."""
    assert {topic.strip("`"): int(partitions) for topic, _, _, partitions, _ in rows(CONTRACTS, "## Topics")} == TOPICS


def test_every_rpc_is_in_the_readme() -> None:
    """The README shows every RPC that has no route, by make and by grpcurl."""
    for service in services():
        for method in service.methods:
            if method.GetOptions().HasExtension(annotations_pb2.http):
                continue
            full_name = f"{service.full_name}/{method.name}"
            assert f"make call m={full_name}" in README, full_name
            assert re.search(rf"grpcurl .*{re.escape(full_name)}", README), full_name


def test_readme_is_as_the_shop_says() -> None:
    """The README's answers are those of a fresh shop; its tables of ports and settings are those of the code."""
    assert readme.differences(README, readme.made(README)) == ""


def test_links_lead_somewhere() -> None:
    """Each relative link of a document names a file of the repository."""
    for document in [*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
