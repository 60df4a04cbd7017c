"""Objects that expressions build: `Object{spec: Object.spec{replicas: 1}}` and `JSONPatch{...}`.

Upstream knows them as types made from the object's schema. Here they are maps: the text is
rewritten before it is compiled, and what comes of it is checked against the schema afterwards.

Source: Kubernetes documentation, "Mutating Admission Policy".
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<string>[rRbB]{0,2}(?:'{3}.*?'{3}|"{3}.*?"{3}|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
    | (?P<message>(?<![\w.])(?:Object(?:\.\w+)*|JSONPatch)\s*\{)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<space>\s+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSING: Final = {"}": "{", ")": "(", "]": "["}


def as_maps(expression: str) -> str:
    """The expression with constructions of messages as literals of maps."""
    made: list[str] = []
    open_: list[str] = []
    before = ""
    for found in _TOKEN.finditer(expression):
        kind, text = found.lastgroup, found[0]
        if kind == "message":
            open_.append("message")
            text = "{"
        elif kind == "name" and open_ and open_[-1] == "message" and before in ("{", ",", "?"):
            if expression[found.end() :].lstrip().startswith(":"):
                text = f'"{text}"'
        elif kind == "other" and text in "{([":
            open_.append(text)
        elif kind == "other" and text in _CLOSING and open_:
            open_.pop()
        made.append(text)
        if kind != "space":
            before = text
    return "".join(made)
