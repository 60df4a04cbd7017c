"""Patterns as upstream understands them: RE2, in time linear in what they are matched against."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any

import re2

# What one compiled pattern may take.
_MEMORY_BYTES_MAX = 1024 * 1024
_COMPILED_MAX = 1024


class PatternError(ValueError):
    """The text is no regular expression; the message is RE2's."""


@lru_cache(maxsize=_COMPILED_MAX)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES_MAX
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else ""
        text = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise PatternError(f"error parsing regexp: {text}") from error


def check(pattern: str) -> None:
    """Raises PatternError where `pattern` is no regular expression."""
    _compiled(pattern)


def matches(pattern: str, text: str) -> bool:
    """Whether `pattern` is found anywhere in `text`.

    Raises:
        PatternError: it is no pattern.
    """
    return _compiled(pattern).search(text) is not None


def find_all(pattern: str, text: str, most: int) -> list[str]:
    """What `pattern` matches in `text`, from left to right, without overlaps; at most so many.

    Raises:
        PatternError: it is no pattern.
    """
    found = (match.group(0) for match in _compiled(pattern).finditer(text))
    return list(islice(found, most))
