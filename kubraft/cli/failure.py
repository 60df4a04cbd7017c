"""Failures of the command line, and how each kind reads.

    Error from server (NotFound): pods "x" not found     what the API server answered
    error: the server doesn't have a resource type "x"   what was typed
    kubraft: no cluster is running here (...)            the cluster as a whole

Each is one line on standard error, and the exit status is 1.

Source: kubectl's conventions for its error lines.
"""

from __future__ import annotations

from kubraft.api.errors import ApiError, UnauthorizedError


class CommandError(Exception):
    """What was asked for makes no sense or cannot be done; the message is for the user."""

    prefix = "error: "


class ClusterAbsentError(CommandError):
    """There is no cluster to talk to."""

    prefix = "kubraft: "


class FailedError(Exception):
    """All has been said already; only the exit status is left to set."""


def failure_line(error: Exception) -> str:
    """How `error` reads on standard error."""
    if isinstance(error, CommandError):
        return f"{error.prefix}{error}"
    if isinstance(error, ApiError):
        if isinstance(error, UnauthorizedError):
            return "error: You must be logged in to the server (Unauthorized)"
        return f"Error from server ({error.reason}): {error.message}"
    return f"error: {error}"
