"""JSON values one after the other in a body that is still coming. No I/O."""

from __future__ import annotations

import codecs
import re

# A bracket, or a string with the brackets that stand in it.
_TOKEN = re.compile(r'[{}\[\]]|"(?:[^"\\]++|\\.)*+"|"', re.DOTALL)
_SCALAR = re.compile(r"[^ \t\r\n{}\[\]]+(?=[ \t\r\n{}\[\]])")
_SPACE = " \t\r\n"


class ValueSplitter:
    """Takes bytes as they come and gives each value's text once it is whole."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""
        self._looked_at = 0
        self._depth = 0

    @property
    def waiting(self) -> int:
        """How many characters there are of a value that is not whole."""
        return len(self._text)

    def feed(self, data: bytes, *, last: bool = False) -> None:
        self._text += self._decoder.decode(data, final=last)

    def rest(self) -> str:
        """What is left when no more comes: blank, or a value that is cut off."""
        return self._text

    def clear(self) -> None:
        """Give up what is left."""
        self._text = ""
        self._looked_at = self._depth = 0

    def next_value(self) -> str | None:
        """The text of the next whole value; brackets pair up in it, nothing more is sure."""
        if not self._depth:
            self._text = self._text.lstrip(_SPACE)
            self._looked_at = 0
            if self._text and self._text[0] in "}],:":
                return self._cut(1)
            if self._text and self._text[0] not in "{[":
                match = _SCALAR.match(self._text)
                return self._cut(match.end()) if match else None
        for match in _TOKEN.finditer(self._text, self._looked_at):
            found = match[0]
            if found == '"':  # of a string whose end is not here
                self._looked_at = match.start()
                return None
            self._looked_at = match.end()
            if found in "{[":
                self._depth += 1
            elif found in "}]":
                self._depth -= 1
                if not self._depth:
                    return self._cut(match.end())
        return None

    def _cut(self, end: int) -> str:
        value, self._text = self._text[:end], self._text[end:]
        self._looked_at = self._depth = 0
        return value
