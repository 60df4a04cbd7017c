"""`kubraft describe`: one object in full, with what belongs to it and its Events."""

from kubraft.cli.describe.command import describe

__all__ = ["describe"]
