"""Generate the Python stubs of proto/ into kubraft/pb (not kept in git).

`make setup` and the build hook call this. It does nothing where the stubs are newer than every
.proto file.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate_stubs(root: Path = ROOT) -> list[Path]:
    """Compile every .proto below `root`/proto.

    Returns:
        The files that were compiled; empty where all stubs were up to date.

    Raises:
        RuntimeError: protoc refused a file.
    """
    protos = sorted((root / "proto").rglob("*.proto"))
    newest = max(path.stat().st_mtime for path in protos)
    stubs = [(root / p.relative_to(root / "proto")).with_name(p.stem + "_pb2.py") for p in protos]
    if all(stub.exists() and stub.stat().st_mtime > newest for stub in stubs):
        return []
    from grpc_tools import protoc  # noqa: PLC0415 - a build tool, absent at run time

    include = Path(protoc.__file__).parent / "_proto"
    outputs = ("python", "grpc_python", "mypy", "mypy_grpc")
    arguments = ["protoc", f"-I{root / 'proto'}", f"-I{include}"]
    # The plugins of this interpreter's environment, which may not be on the PATH.
    scripts = Path(sysconfig.get_path("scripts"))
    plugins = [scripts / f"protoc-gen-{kind}" for kind in ("mypy", "mypy_grpc")]
    arguments += [f"--plugin={path.name}={path}" for path in plugins if path.exists()]
    arguments += [f"--{kind}_out={'quiet:' if 'mypy' in kind else ''}{root}" for kind in outputs]
    if protoc.main([*arguments, *map(str, protos)]) != 0:
        raise RuntimeError("protoc could not compile the files of proto/ (its message is above)")
    for folder in {stub.parent for stub in stubs} | {root / "kubraft" / "pb"}:
        (folder / "__init__.py").touch()
    return protos


if __name__ == "__main__":
    sys.stdout.writelines(f"generated {path.relative_to(ROOT)}\n" for path in generate_stubs())
