"""Hatch build hook: a wheel or an editable install carries the generated stubs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs scripts/generate.py before files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Called by hatchling before each build."""
        sys.path.insert(0, str(Path(self.root) / "scripts"))
        from generate import (  # type: ignore[import-not-found]  # noqa: PLC0415 - on the path now
            generate_stubs,
        )

        generate_stubs(Path(self.root))
