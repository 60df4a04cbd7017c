"""Which of upstream's conformance tests have a twin here: a decorator keeps the names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Story = TypeVar("Story", bound=Callable[..., Any])

# By name, where it is held.
HELD: dict[str, str] = {}


def conforms(*names: str) -> Callable[[Story], Story]:
    """Note that a test makes the calls of the conformance tests of these names."""

    def note(story: Story) -> Story:
        for name in names:
            assert name not in HELD, name
            HELD[name] = story.__module__
        return story

    return note
