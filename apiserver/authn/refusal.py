"""What a caller hears whose credentials are no good: that, and no reason."""

from __future__ import annotations

from kubraft.api.errors import UnauthorizedError


def refused(why: str) -> UnauthorizedError:
    """The refusal that a caller sees, with a note for the log."""
    error = UnauthorizedError("Unauthorized")
    error.add_note(why)
    return error
