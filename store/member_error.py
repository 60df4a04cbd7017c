"""What keeps a member from starting or going on, in words for its operator."""

from __future__ import annotations

import os
import ssl


class MemberError(Exception):
    """The member cannot start or go on; one line that names the flag or file and the cause."""


def cause_of(error: BaseException) -> str:
    """The cause of an error in a few words and one line."""
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "verify_message", "") or error.reason or error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__
