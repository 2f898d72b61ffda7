"""Make api/gen from api/proto, or prove with --check that it is fresh.

Messages, their types and the stubs come from grpcio-tools, the types of the stubs from mypy-protobuf: all wheels.
"""

import filecmp
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

API = Path(__file__).parent
PROTO = API / "proto"
GEN = API / "gen"


def generate(out: Path) -> None:
    """Write the Python modules of every contract below api/proto into out."""
    tools = Path(sys.executable).parent
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
            *sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto")),
        ],
        cwd=PROTO,
        check=True,
    )
    for path in out.rglob("*_pb2_grpc.py*"):
        if "add_" not in path.read_text():  # a file without a service has no stubs
            path.unlink()


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
    for path in GEN.rglob("*_pb2*"):
        path.unlink()
    generate(GEN)


if __name__ == "__main__":
    main()
