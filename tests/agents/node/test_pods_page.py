"""docs/pods.md is complete: it says of every field of a Pod what becomes of it."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from apiserver.schema.definitions import definitions_file

PAGE = Path(__file__).parents[3] / "docs/pods.md"
CORE = "io.k8s.api.core.v1."


def named(title: str) -> set[str]:
    """The words in backticks of one section."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", section))))


@pytest.mark.parametrize(
    ("section", "types"),
    [
        pytest.param(
            "Spec",
            (
                *("PodSpec", "Container", "EphemeralContainer", "Lifecycle", "Probe"),
                *("PodSecurityContext", "SecurityContext"),
            ),
            id="spec",
        ),
        pytest.param("Status", ("PodStatus", "ContainerStatus"), id="status"),
    ],
)
def test_every_field_has_a_word(section: str, types: tuple[str, ...]) -> None:
    definitions = orjson.loads(definitions_file().read_bytes())["$defs"]
    fields = {name for kind in types for name in definitions[CORE + kind]["properties"]}
    assert len(fields) > 20
    assert not fields - named(section)
