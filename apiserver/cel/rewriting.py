"""What is written otherwise for the evaluator than for Kubernetes.

The evaluator's own library has the names `indexOf`, `lastIndexOf`, `reverse` and `string`, and lets
nobody add to them. Functions of ours cannot return optionals: those that should return a list with
one item or none, whose first item is asked for optionally.
"""

from __future__ import annotations

import re
from typing import Final

_STRING: Final = re.compile(
    r"""[rRbB]{0,2}(?:'''.*?'''|\"{3}.*?\"{3}|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")""", re.DOTALL
)
_RENAMED: Final = {
    "indexOf": "k8sIndexOf",
    "lastIndexOf": "k8sLastIndexOf",
    "reverse": "k8sReverse",
}
_MEMBER: Final = re.compile(r"(?<=\.)(\s*)(indexOf|lastIndexOf|reverse)(?=\s*\()")
_TEXT: Final = re.compile(r"(?<![\w.])string(?=\s*\(\s*(?:ip|cidr)\s*\()")
_OPTIONAL: Final = re.compile(r"(?:(?<=\.)|(?<![\w.]))(validate|format\s*\.\s*named)\s*\(")
_BACK: Final = (
    ("k8sIndexOf", "indexOf"),
    ("k8sLastIndexOf", "lastIndexOf"),
    ("k8sReverse", "reverse"),
    ("k8sText", "string"),
    ("k8sValidate", "validate"),
    ("k8sNamed", "named"),
)


def outside_strings(text: str) -> str:
    """The text with its string literals blanked out, every sign in its place."""
    return _STRING.sub(lambda found: " " * len(found[0]), text)


def rewritten(expression: str) -> str:
    """The expression as the evaluator is given it."""
    blanked = outside_strings(expression)
    edits: list[tuple[int, int, str]] = [
        (found.start(2), found.end(2), _RENAMED[found[2]]) for found in _MEMBER.finditer(blanked)
    ]
    edits += [(found.start(), found.end(), "k8sText") for found in _TEXT.finditer(blanked)]
    for found in _OPTIONAL.finditer(blanked):
        name = "k8sValidate" if found[1] == "validate" else "format.k8sNamed"
        closing = _closing(blanked, found.end())
        edits += [(found.start(1), found.end(1), name), (closing, closing, "[?0]")]
    for start, end, text in sorted(edits, reverse=True):
        expression = expression[:start] + text + expression[end:]
    return expression


def as_written(message: str) -> str:
    """A message of the evaluator with the names that the author knows."""
    for ours, theirs in _BACK:
        message = message.replace(ours, theirs)
    return message


def _closing(text: str, start: int) -> int:
    """Behind the parenthesis that closes what was opened before `start`, or the end."""
    depth = 1
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return index + 1
    return len(text)
