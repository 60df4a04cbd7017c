"""Which nodes a NodeSelector allows, of a volume's node affinity for one.

Source: Kubernetes API reference, NodeSelector (terms are alternatives, expressions all must hold).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubraft.api.labels import LabelSelector, requirement_from_object


def selects_node(selector: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> bool:
    """Whether a node of that name and these labels meets one of the selector's terms.

    A term that is empty or cannot be read matches no node.
    """
    return any(_holds(term, name, labels) for term in selector.get("nodeSelectorTerms") or ())


def _holds(term: Mapping[str, Any], name: str, labels: Mapping[str, str]) -> bool:
    expressions = term.get("matchExpressions") or ()
    fields = term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    try:
        by_labels = LabelSelector(requirement_from_object(each) for each in expressions)
        by_name = LabelSelector(requirement_from_object(each) for each in fields)
    except ValueError:
        return False
    return by_labels.matches(labels) and by_name.matches({"metadata.name": name})
