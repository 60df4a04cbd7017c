"""When two statuses say the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def same_status(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether both say the same; an absent count is 0, an absent list empty."""
    return _said(old or {}) == _said(new)


def _said(status: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in status.items() if v is not None and v not in (0, [])}
