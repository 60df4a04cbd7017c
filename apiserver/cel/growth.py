"""How much an expression may multiply its input: a bound that is read off its text.

The evaluator stops after so many iterations by itself, and its patterns are linear in time. What it
does not bound is the size of values: `['x'].map(a, a + a)` forty times over is 2^40 characters.
"""

from __future__ import annotations

import re
from typing import Final

CHARS_MAX: Final = 32_768
GROWTH_MAX: Final = 64

_STRING = re.compile(
    r"""[rRbB]{0,2}(?:'''.*?'''|\"{3}.*?\"{3}|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")""", re.DOTALL
)
_MACRO = re.compile(r"\.\s*(?:map|filter|all|exists|exists_one|transformList)\s*\(\s*(\w+)\s*,")
_REPLACE = re.compile(r"\.\s*replace\s*\(")
_LITERAL = re.compile(r"\x00(\d+)\x00")


def growth(expression: str) -> int:
    """By which factor values can grow at most in one evaluation."""
    text = _STRING.sub(lambda found: f"\0{len(found[0])}\0", expression)
    factor = 1
    for found in _MACRO.finditer(text):
        body = _within(text, found.end())
        if "+" in body or "[" in body:
            uses = len(re.findall(rf"(?<![\w.]){re.escape(found[1])}\b", body))
            factor *= max(1, uses)
    for found in _REPLACE.finditer(text):
        lengths = [int(each) for each in _LITERAL.findall(_within(text, found.end()))]
        factor *= max(1, (lengths[-1] - 2) if len(lengths) > 1 else 8)
    return factor


def _within(text: str, start: int) -> str:
    """What stands between here and the parenthesis that closes."""
    depth = 1
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return text[start:index]
    return text[start:]
