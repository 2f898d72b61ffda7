#!/usr/bin/env python3
"""The protoc plugin that makes the documents: protoc-gen-documents, called by api/generate.py."""

import json
import sys
from typing import Any

from google.protobuf.compiler import plugin_pb2

from api.plugins import asyncapi, catalogue, collection
from api.plugins.contract import ContractError, Contracts
from api.plugins.openapi import OpenApi


def documents(contracts: Contracts) -> dict[str, str]:
    """Return the documents by path."""
    openapi = OpenApi(contracts).document
    return {
        "openapi.json": _json(openapi),
        "asyncapi.json": _json(asyncapi.document(contracts)),
        "errors.md": catalogue.markdown(contracts),
        **{f"collection/{path}": text for path, text in collection.files(contracts, openapi).items()},
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def answer(request: plugin_pb2.CodeGeneratorRequest) -> plugin_pb2.CodeGeneratorResponse:
    """What protoc is told: the files, or what is wrong with the contracts."""
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    try:
        contracts = Contracts.of(request)
        for name, content in documents(contracts).items():
            response.file.add(name=name, content=content)
        response.error = "\n".join(contracts.problems)
    except ContractError as error:
        response.error = str(error)
    return response


if __name__ == "__main__":
    asked = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    sys.stdout.buffer.write(answer(asked).SerializeToString())
