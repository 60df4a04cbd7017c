"""What an admission plugin is.

The API server asks `handles` first and calls the rest only on yes. Mutation comes before
defaulting and validation of the schema, `validate` after them and directly before the write, so
what `validate` has seen is what is stored. Both run in the task of the request, many requests at
a time. Refusing is raising one of kubraft.api.errors; any other exception is a defect.
"""

from __future__ import annotations

from typing import Protocol

from apiserver.admission.request import AdmissionRequest


class AdmissionPlugin(Protocol):
    """One step of admission."""

    @property
    def name(self) -> str:
        """How messages and logs name it."""
        ...

    def handles(self, request: AdmissionRequest) -> bool:
        """Whether it has anything to say; quick, without side effects."""
        ...

    async def mutate(self, request: AdmissionRequest) -> None:
        """Change `request.obj`, or refuse."""
        ...

    async def validate(self, request: AdmissionRequest) -> None:
        """Refuse, or do what must precede the write (not on `request.dry_run`)."""
        ...


class Plugin:
    """A plugin that does nothing, to begin from."""

    name = ""

    def handles(self, request: AdmissionRequest) -> bool:  # noqa: ARG002 - for overriding
        """Everything, unless overridden."""
        return True

    async def mutate(self, request: AdmissionRequest) -> None:
        """Change nothing."""

    async def validate(self, request: AdmissionRequest) -> None:
        """Refuse nothing."""
