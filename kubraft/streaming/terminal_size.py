"""Sizes of a terminal, as clients say them on the resize stream: JSON objects in a row. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

_OBJECT_BYTES_MAX: Final = 1024
_SIDE_MAX: Final = 65_535


class TerminalSize(NamedTuple):
    """In characters."""

    width: int
    height: int


class SizeReader:
    """Bytes in, sizes out; what is no size is skipped, as nothing depends on one."""

    def __init__(self) -> None:
        self._held = b""

    def receive(self, data: bytes) -> Iterator[TerminalSize]:
        """The sizes that `data` completes."""
        self._held += data
        while (end := self._held.find(b"}")) >= 0:
            text, self._held = self._held[: end + 1], self._held[end + 1 :]
            size = _size(text)
            if size is not None:
                yield size
        self._held = self._held[-_OBJECT_BYTES_MAX:]


def _size(text: bytes) -> TerminalSize | None:
    if len(text) > _OBJECT_BYTES_MAX:
        return None
    try:
        value = json.loads(text)
        size = TerminalSize(int(value["Width"]), int(value["Height"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return size if all(0 < side <= _SIDE_MAX for side in size) else None
