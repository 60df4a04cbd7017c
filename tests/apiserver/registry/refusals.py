"""Tables of what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

DATA = Path(__file__).parent / "data"


def refusals(name: str) -> list[Any]:
    """Pairs of lines: a kind and a merge patch; below it, indented, the message."""
    lines = [line for line in (DATA / name).read_text().splitlines() if line and line[0] != "#"]
    found = []
    for asked, message in zip(lines[::2], lines[1::2], strict=True):
        kind, _, patch = asked.partition(" ") if asked[0] != "{" else ("", "", asked)
        found.append(pytest.param(kind, orjson.loads(patch), message.strip(), id=asked[:60]))
    return found
