"""Make a small image of this machine's programs.

    python -m scripts.make_image example.com/tool:v1 tool.tar

For trying `kubraft images import` without a network. --image says which built-in one it is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from agents.containerd.images.archive import write_archive
from agents.containerd.images.catalog import Catalog
from agents.containerd.images.layers import Layers


def main() -> int:
    """Write the archive; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m scripts.make_image")
    parser.add_argument("name", help="what the image is to be called: example.com/tool:v1")
    parser.add_argument("file", type=Path, help="the archive to write")
    parser.add_argument("--image", default="busybox", help="busybox, python, kubraft/web, ...")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            write_archive(given.file, Catalog(Layers(Path(folder))), given.image, given.name)
        except (ValueError, OSError) as error:
            print(f"make_image: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
