"""The lines of a response's head as HTTP/1.1 writes them."""

from __future__ import annotations

from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus


def checked(lines: Sequence[str]) -> bytes:
    """A head of these lines, whole.

    Raises:
        ValueError: one of them would break out of its own.
    """
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise ValueError("a header of the response has a line end in it")
    return f"{text}\r\n".encode("latin-1")


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase


@lru_cache(maxsize=64)
def status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {phrase(status)}\r\n"


@lru_cache(maxsize=256)
def shown(name: str) -> str:
    """Nothing depends on the case of names, but for a few clients."""
    return name.title()


@lru_cache(maxsize=1)
def date(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\n"
