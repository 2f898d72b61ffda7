"""Make api/gen from api/proto, or prove with --check that it is fresh. Refuses an RPC that says not who may call it.

Messages, their types and the stubs come from grpcio-tools, the types of the stubs from mypy-protobuf: all wheels.
google/api is compiled by its own wheel, and lies here for buf alone.
"""

import filecmp
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
ACCESS = 50701  # abacus.access.v1.access, the option that names an RPC's policy


def generate(out: Path) -> None:
    """Write the Python modules of every contract below api/proto into out."""
    tools = Path(sys.executable).parent
    described = out / "descriptors.binpb"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            f"--plugin={tools / 'protoc-gen-mypy_grpc'}",
            f"--python_out={out}",
            f"--grpc_python_out={out}",
            f"--pyi_out={out}",
            f"--mypy_grpc_out=quiet:{out}",
            f"--descriptor_set_out={described}",
            *sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto") if not path.is_relative_to(GOOGLE)),
        ],
        cwd=PROTO,
        check=True,
    )
    _refuse_open_doors(descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes()))
    described.unlink()
    for path in out.rglob("*_pb2_grpc.py*"):
        if "add_" not in path.read_text():  # a file without a service has no stubs
            path.unlink()


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


def main() -> None:
    """Generate, or with --check compare with what is committed and exit 1 where it is stale."""
    if "--check" in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as fresh:
            generate(Path(fresh))
            if stale := differences(Path(fresh), GEN):
                sys.exit(f"api/gen is stale, run `make generate`: {', '.join(stale)}")
        return
    with tempfile.TemporaryDirectory() as fresh:
        generate(Path(fresh))
        for changed in differences(Path(fresh), GEN):
            if (made := Path(fresh) / changed).exists():
                (GEN / changed).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(made, GEN / changed)
            else:
                (GEN / changed).unlink()


if __name__ == "__main__":
    main()
