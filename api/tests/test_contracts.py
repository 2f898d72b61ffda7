"""The checks of the contracts can fail: each is shown to catch what it is there for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
BUF = Path(sys.executable).parent / "buf"
CHECK = [sys.executable, "api/generate.py", "--check"]


@pytest.fixture
def api(tmp_path):
    """A copy of the contracts and of what is made of them, that a test may spoil."""
    shutil.copy(REPO / "buf.yaml", tmp_path)
    shutil.copytree(REPO / "api", tmp_path / "api", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "docs").mkdir()
    shutil.copy(REPO / "docs" / "errors.md", tmp_path / "docs")
    return tmp_path


def spoil(api, old, new):
    path = api / "api" / "proto" / "abacus" / "loms" / "v1" / "loms.proto"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def buf(api, *arguments):
    return subprocess.run([BUF, *arguments], cwd=api, capture_output=True, text=True, check=False)


def test_a_breaking_change_is_found(api):
    """A field that changes its type is refused; the contracts as they are pass."""
    breaking = ("breaking", "--against", "api/released.binpb")
    assert 0 == buf(api, *breaking).returncode
    spoil(api, "int64 order_id = 1", "string order_id = 1")
    found = buf(api, *breaking)
    assert 100 == found.returncode
    assert "order_id" in found.stdout


def test_a_name_out_of_style_is_found(api):
    """buf lint holds the contracts to its standard."""
    assert 0 == buf(api, "lint").returncode
    spoil(api, "rpc Stocks(", "rpc stocks(")
    assert 100 == buf(api, "lint").returncode


def test_stale_generated_code_is_found(api):
    """A contract that changed without `make generate` fails the check."""
    assert 0 == subprocess.run(CHECK, cwd=api, check=False).returncode
    spoil(api, "  string currency = 4", "  string money = 4")
    stale = subprocess.run(CHECK, cwd=api, capture_output=True, text=True, check=False)
    assert 1 == stale.returncode
    assert "loms_pb2.py" in stale.stderr


def test_stale_documents_are_found(api):
    """Documents that were changed by hand, are gone, or are left over fail the check by name, and are made again."""
    generate = [sys.executable, "api/generate.py"]
    subprocess.run(generate, cwd=api, check=True)
    collection = api / "api" / "collection" / "loms" / "grpc"
    changed = [api / "api" / "openapi.json", api / "api" / "asyncapi.json", api / "docs" / "errors.md"]
    made = [path.read_text() for path in changed]
    for path in changed:
        path.write_text(path.read_text().replace("abacus", "cuckoo"))
    (collection / "Stocks.bru").unlink()
    (collection / "Gone.bru").touch()
    found = subprocess.run(CHECK, cwd=api, capture_output=True, text=True, check=False)
    assert 1 == found.returncode
    stale = set(found.stderr.strip().rpartition(": ")[2].split(", "))
    assert {
        "api/openapi.json",
        "api/asyncapi.json",
        "docs/errors.md",
        "api/collection/loms/grpc/Stocks.bru",
        "api/collection/loms/grpc/Gone.bru",
    } == stale
    subprocess.run(generate, cwd=api, check=True)
    assert made == [path.read_text() for path in changed]
    assert (collection / "Stocks.bru").exists()
    assert not (collection / "Gone.bru").exists()
    assert 0 == subprocess.run(CHECK, cwd=api, check=False).returncode


def test_a_comment_that_is_not_true_is_found(api):
    """An RPC that promises an error which nobody defines is not documented, and said why."""
    spoil(api, "Errors: STOCK_NOT_FOUND,", "Errors: STOCK_LOST,")
    made = subprocess.run([sys.executable, "api/generate.py"], cwd=api, capture_output=True, text=True, check=False)
    assert 1 == made.returncode
    assert "AdjustStock names STOCK_LOST" in made.stderr


@pytest.mark.parametrize("left", ["", "option (abacus.access.v1.access) = {};", "option deprecated = true;"])
def test_an_rpc_without_a_policy_is_found(api, left):
    """Neither made nor checked: who may call an RPC must be said, by something that lets somebody in."""
    spoil(api, "option (abacus.access.v1.access) = {public: true};", left)
    for arguments in ((), ("--check",)):
        made = [sys.executable, "api/generate.py", *arguments]
        refused = subprocess.run(made, cwd=api, capture_output=True, text=True, check=False)
        assert 1 == refused.returncode
        assert "do not say who may call" in refused.stderr
        assert refused.stderr.strip().endswith(": abacus.loms.v1.LomsService/Stocks")
