"""What a built-in server image runs: a stand-in, told by its surroundings what others are given.

Runs inside the image, with the standard library alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def main(name: str, arguments: tuple[str, ...]) -> int:
    """Run the stand-in `name`; its exit status."""
    from agents.runtime.builtin import run  # noqa: PLC0415 - after the path to it is set

    # A container has addresses of its own, so its servers listen on all of them.
    os.environ.setdefault("KUBRAFT_POD_IP", "0.0.0.0")  # noqa: S104
    os.environ.setdefault("KUBRAFT_POD_NAME", os.environ.get("HOSTNAME", ""))
    if _NAMESPACE.is_file():
        os.environ.setdefault("KUBRAFT_POD_NAMESPACE", _NAMESPACE.read_text().strip())
    return run(name, arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    sys.exit(main(sys.argv[1], tuple(sys.argv[2:])))
