"""Make code and documents from api/proto, or prove with --check that they are fresh.

Refuses an RPC that says not who may call it. Messages, their types and the stubs come from grpcio-tools, the types of
the stubs from mypy-protobuf: all wheels. google/api is compiled by its own wheel, and lies here for buf alone. The
documents (OpenAPI, AsyncAPI, the collection, the catalogue of errors) come from our own plugin, api/plugins.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.unknown_fields import UnknownFieldSet

API = Path(__file__).parent
PROTO = API / "proto"
GOOGLE = PROTO / "google"
GEN = API / "gen"
PLUGIN = API / "plugins" / "__main__.py"
# What the plugin makes, and where it lies.
DOCUMENTS = {
    "openapi.json": API / "openapi.json",
    "asyncapi.json": API / "asyncapi.json",
    "collection": API / "collection",
    "errors.md": API.parent / "docs" / "errors.md",
}
ACCESS = 50701  # abacus.access.v1.access, the option that names an RPC's policy
TOOLS = Path(sys.executable).parent


def generate(out: Path) -> None:
    """Write the Python modules of every contract below api/proto into out."""
    described = out / "descriptors.binpb"
    _protoc(
        f"--plugin={TOOLS / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--pyi_out={out}",
        f"--mypy_grpc_out=quiet:{out}",
        f"--descriptor_set_out={described}",
        *sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto") if not path.is_relative_to(GOOGLE)),
    )
    _refuse_open_doors(descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes()))
    described.unlink()
    for path in out.rglob("*_pb2_grpc.py*"):
        if "add_" not in path.read_text():  # a file without a service has no stubs
            path.unlink()


def document(out: Path, gen: Path) -> None:
    """Write the documents made of the contracts into out; gen is the code generated of the same contracts.

    Exits where a contract says what is not so, as errors that nobody defines.
    """
    _protoc(
        f"--plugin=protoc-gen-documents={PLUGIN}",
        f"--documents_out={out}",
        *sorted(str(path.relative_to(PROTO)) for path in (PROTO / "abacus").rglob("*.proto")),
        # The plugin is started by its first line, and reads options by the code that is fresh.
        env=os.environ | {"PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(gen)},
    )


def _protoc(*arguments: str, env: dict[str, str] | None = None) -> None:
    paths = (f"--proto_path={PROTO}", f"--proto_path={files('grpc_tools') / '_proto'}")
    made = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *paths, *arguments], cwd=PROTO, env=env, check=False
    )
    if made.returncode:
        sys.exit("api/proto: protoc, or a plugin of it, refuses it")  # which has said why


def _refuse_open_doors(files: descriptor_pb2.FileDescriptorSet) -> None:
    """Exit where an RPC of ours has no policy. The option is looked for by its number, as a field not known here."""
    open_doors = [
        f"{file.package}.{service.name}/{rpc.name}"
        for file in files.file
        for service in file.service
        for rpc in service.method
        if not any(field.field_number == ACCESS and field.data for field in UnknownFieldSet(rpc.options))
    ]
    if open_doors:
        sys.exit(
            f"these RPCs do not say who may call them, add option (abacus.access.v1.access): {', '.join(open_doors)}"
        )


def differences(left: Path, right: Path) -> list[str]:
    """Paths below two folders that are not the same in both."""
    paths = {
        path.relative_to(root)
        for root in (left, right)
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    _, mismatch, errors = filecmp.cmpfiles(left, right, [str(path) for path in sorted(paths)], shallow=False)
    return mismatch + errors


def update(made: Path, kept: Path, *, check: bool) -> list[str]:
    """Bring a file or a folder to what was made, or with check leave it; return what is, or was, stale."""
    if made.is_file():
        changed = [] if kept.exists() and made.read_bytes() == kept.read_bytes() else [""]
    else:
        changed = differences(made, kept)
    for name in [] if check else changed:
        if (made / name).exists():
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made / name, kept / name)
        else:
            (kept / name).unlink()
    return [str((kept / name).relative_to(API.parent)) for name in changed]


def main() -> None:
    """Generate, or with --check compare with what is committed and exit 1 where it is stale."""
    check = "--check" in sys.argv[1:]
    with tempfile.TemporaryDirectory() as fresh:
        gen, documents = Path(fresh) / "gen", Path(fresh) / "documents"
        gen.mkdir()
        documents.mkdir()
        generate(gen)
        stale = update(gen, GEN, check=check)
        document(documents, gen)
        for name, kept in DOCUMENTS.items():
            stale += update(documents / name, kept, check=check)
    if check and stale:
        sys.exit(f"stale, run `make generate`: {', '.join(stale)}")


if __name__ == "__main__":
    main()
