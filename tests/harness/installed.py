"""A package of docs/examples, installed as a user would install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def install_example(example: Path, target: Path, temporary: Path) -> Path:
    """Install the package of `example` below `target` by pip, from no index; returns `target`."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--disable-pip-version-check", "--target", str(target), str(example)],
        check=True,
        env={"PIP_NO_CACHE_DIR": "1", "PATH": "", "TMPDIR": str(temporary)},
        timeout=60,
    )  # fmt: skip
    return target
