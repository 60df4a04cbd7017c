"""Static bearer tokens from a file: `token,user,uid,"group1,group2"`, one a line.

Source: Kubernetes authentication, "Static token file".
"""

from __future__ import annotations

import csv
import hmac
import io
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from apiserver.user import User


class TokenFileError(ValueError):
    """The token file cannot be used; the message names the file and line, never a token."""


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: bytes = field(repr=False)
    user: User


class TokenFile:
    """The tokens of one file. Only digests are kept, and all are compared, whichever matches."""

    def __init__(self, entries: Iterable[tuple[str, User]]) -> None:
        self._entries = tuple(_Entry(_digest(token), user) for token, user in entries)

    def authenticate(self, token: str) -> User | None:
        """The user of `token`, or None; takes the same time for every wrong token."""
        digest = _digest(token)
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry.user
        return found


def load_token_file(path: Path) -> TokenFile:
    """Read the token file at `path`.

    Raises:
        TokenFileError: unreadable, readable by others than its owner, or malformed.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TokenFileError(f"token file {path}: {reason}") from None
    if mode & 0o077:
        raise TokenFileError(
            f"token file {path}: mode {mode:04o} lets others read it; run chmod 600 {path}"
        )
    return TokenFile(parse_token_file(text, str(path)))


def parse_token_file(text: str, source: str) -> list[tuple[str, User]]:
    """The tokens and users of a token file's text; `source` names it in errors.

    Raises:
        TokenFileError: a line has fewer than three fields, or an empty or repeated token or user.
    """
    entries: list[tuple[str, User]] = []
    seen: set[str] = set()
    reader = csv.reader(io.StringIO(text), skipinitialspace=True)
    for row in _rows(reader, source):
        where = f"token file {source}, line {reader.line_num}"
        if not row or row[0].lstrip().startswith("#"):
            continue
        if len(row) < 3:
            raise TokenFileError(f"{where}: has {len(row)} fields, needs token,user,uid")
        token, name, uid = (cell.strip() for cell in row[:3])
        if not token or not name:
            raise TokenFileError(f"{where}: the {'user' if token else 'token'} is empty")
        if token in seen:
            raise TokenFileError(f"{where}: the token is used twice")
        seen.add(token)
        groups = row[3].split(",") if len(row) > 3 else []
        entries.append((token, User(name, uid, tuple(g.strip() for g in groups if g.strip()))))
    return entries


def _rows(reader: Any, source: str) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise TokenFileError(
            f"token file {source}, line {reader.line_num}: not comma-separated values"
        ) from error


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
