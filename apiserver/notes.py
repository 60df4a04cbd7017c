"""What is said about a request beside its answer: warnings for the client, notes for the audit log.

Whoever serves a request opens a Notes; whatever runs in its task, or in tasks that this starts,
adds to it. Outside a request what is added goes nowhere. This is the one value that travels by
context: every layer may have something to say, and none of them decides by it.

Source: upstream's warning.AddWarning and audit.AddAuditAnnotation.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

WARNINGS_MAX: Final = 32
# Upstream cuts each to 256 once all together come to more than 4 KiB.
WARNING_CHARS_MAX: Final = 256
WARNINGS_CHARS_MAX: Final = 4096
ANNOTATIONS_MAX: Final = 64
ANNOTATION_CHARS_MAX: Final = 16_384


class Notes:
    """Of one request; bounded, further ones are dropped."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.annotations: dict[str, str] = {}
        # Those that only a log at level Request or above may hold: parts of objects.
        self.request_annotations: dict[str, str] = {}

    def warn(self, text: str) -> None:
        """A warning, said once."""
        if text and text not in self.warnings and len(self.warnings) < WARNINGS_MAX:
            chars = sum(map(len, self.warnings))
            over = chars + len(text) > WARNINGS_CHARS_MAX
            self.warnings.append(text[:WARNING_CHARS_MAX] if over else text)

    def annotate(self, key: str, value: str) -> None:
        """An annotation of the audit event; the first value of a key stays, as upstream."""
        _put(self.annotations, key, value)


def _put(annotations: dict[str, str], key: str, value: str) -> None:
    if len(annotations) < ANNOTATIONS_MAX:
        annotations.setdefault(key, value[:ANNOTATION_CHARS_MAX])


_current: ContextVar[Notes | None] = ContextVar("notes", default=None)


def begin() -> Notes:
    """Notes for the request that this task serves."""
    notes = Notes()
    _current.set(notes)
    return notes


def warnings() -> tuple[str, ...]:
    """The warnings of the request at hand so far."""
    notes = _current.get()
    return tuple(notes.warnings) if notes else ()


def warn(text: str) -> None:
    """Tell the client something beside the answer."""
    if (notes := _current.get()) is not None:
        notes.warn(text)


def annotate(key: str, value: str) -> None:
    """Tell the audit log something."""
    if (notes := _current.get()) is not None:
        notes.annotate(key, value)


def annotate_request(key: str, value: str) -> None:
    """As `annotate`, of what shows parts of the object."""
    if (notes := _current.get()) is not None:
        _put(notes.request_annotations, key, value)
