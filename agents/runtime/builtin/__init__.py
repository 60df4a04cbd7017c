"""What the built-in images run when a Pod gives no command of its own.

These run in a process forked from the nursery, without exec: a few milliseconds and a few pages
each. Standard library only.
"""

from __future__ import annotations


def run(name: str, arguments: tuple[str, ...]) -> int:
    """Run the stand-in `name` to its end; returns its exit status."""
    from agents.runtime.builtin import nginx, pause, web  # noqa: PLC0415 - in the container only

    return {"nginx": nginx.main, "pause": pause.main, "web": web.main}[name](arguments)
