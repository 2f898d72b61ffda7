"""Contracts as protoc hands them to a plugin."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from api.plugins.contract import Contracts

API = Path(__file__).parents[1]


def described(folder: Path, *names: str) -> plugin_pb2.CodeGeneratorRequest:
    """What a plugin is asked for the contracts of a folder."""
    described = folder / "described.binpb"
    paths = (folder, API / "proto", files("grpc_tools") / "_proto")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"--proto_path={path}" for path in paths),
            *("--include_source_info", "--include_imports", f"--descriptor_set_out={described}"),
            *names,
        ],
        check=True,
    )
    files_of = FileDescriptorSet.FromString(described.read_bytes()).file
    return plugin_pb2.CodeGeneratorRequest(file_to_generate=names, proto_file=files_of)


_HEAD = """\
syntax = "proto3";
package abacus.toys.v1;
import "abacus/access/v1/access.proto";
import "abacus/topics/v1/topics.proto";
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
"""


@pytest.fixture
def small(tmp_path: Path) -> Callable[[str], Contracts]:
    """Read a contract that a test writes: a file of the package abacus.toys.v1."""

    def read(text: str) -> Contracts:
        (tmp_path / "toys.proto").write_text(_HEAD + text)
        return Contracts.of(described(tmp_path, "toys.proto"))

    return read


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    """The document as it is committed."""
    document: dict[str, Any] = json.loads((API / "openapi.json").read_text())
    return document


@pytest.fixture(scope="session")
def asyncapi() -> dict[str, Any]:
    """The document as it is committed."""
    document: dict[str, Any] = json.loads((API / "asyncapi.json").read_text())
    return document
