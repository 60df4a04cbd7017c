"""The checks behind /livez, /readyz and /healthz, and how they are shown.

Source: Kubernetes documentation, "Kubernetes API health endpoints".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

Check = Callable[[], Awaitable[str]]  # answers why not, or ""


class Outcome(NamedTuple):
    """The answer to a probe."""

    ok: bool
    text: str


async def ping() -> str:
    """The process answers."""
    return ""


async def run_checks(
    kind: str, checks: Mapping[str, Check], *, verbose: bool, excluded: Sequence[str] = ()
) -> Outcome:
    """Run all checks of a probe (`kind` is "livez", "readyz" or "healthz")."""
    lines: list[str] = []
    failed: list[str] = []
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
        elif why := await check():
            failed.append(name)
            lines.append(f"[-]{name} failed: {why}")
        else:
            lines.append(f"[+]{name} ok")
    if failed:
        return Outcome(False, "\n".join([*lines, f"{kind} check failed", ""]))
    return Outcome(True, "\n".join([*lines, f"{kind} check passed", ""]) if verbose else "ok")
