"""Where the command line writes: standard output and error, coloured only for a person.

Colour is used when standard output is a terminal, `NO_COLOR` is not set and `TERM` is not "dumb".
"""

from __future__ import annotations

import os
import re
import sys
from typing import Final, TextIO

_COLOURS: Final = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
_ESCAPE: Final = re.compile("\x1b\\[[0-9;]*m")


class Terminal:
    """Writes lines; `out` for results, `err` for everything else."""

    def __init__(self, out: TextIO, err: TextIO, *, colour: bool) -> None:
        self._out = out
        self._err = err
        self.colour = colour

    def out(self, text: str = "") -> None:
        """Write a line of the result, and hand it on at once."""
        self._out.write(text + "\n")
        self._out.flush()

    def raw(self, data: bytes) -> None:
        """Write bytes of the result as they are."""
        buffer = getattr(self._out, "buffer", None)
        if buffer is None:
            self._out.write(data.decode(errors="replace"))
        else:
            self._out.flush()
            buffer.write(data)
        self._out.flush()

    def err(self, text: str) -> None:
        """Write a line beside the result."""
        self._err.write(text + "\n")
        self._err.flush()

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour, where there are colours."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.colour and colour else text


def visible_width(text: str) -> int:
    """How many columns `text` takes, colours left out."""
    return len(_ESCAPE.sub("", text))


def process_terminal() -> Terminal:
    """The terminal of this process."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Terminal(sys.stdout, sys.stderr, colour=sys.stdout.isatty() and not plain)
