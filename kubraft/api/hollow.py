"""How hollow nodes are told from others: nodes without machines, whose Pods only seem to run."""

from __future__ import annotations

from typing import Final

from kubraft.api.object import Object, labels_of

# A label of the Node, and the key of its taint.
LABEL: Final = "kubraft.io/hollow"


def is_hollow(node: Object) -> bool:
    """Whether nobody can be asked on that Node."""
    return labels_of(node).get(LABEL) == "true"
