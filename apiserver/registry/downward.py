"""What of its own object a container may show in a variable.

Source: upstream's validation of `env[].valueFrom.fieldRef` and its conversion of field labels.
"""

from __future__ import annotations

import re
from typing import Any, Final

from apiserver.registry.causes import invalid, required, unsupported
from kubraft.api.errors import Cause

_SHOWN: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
# A field selector or a volume may name them, a variable may not.
_HIDDEN: Final = (
    "metadata.annotations",
    "metadata.labels",
    "spec.hostNetwork",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.nominatedNodeName",
    "status.phase",
)
# As files in a volume.
VOLUME_FIELDS: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_SUBSCRIPT: Final = re.compile(r"metadata\.(?:labels|annotations)\['.+'\]")


def field_reference_causes(
    reference: dict[str, Any], path: str, shown: tuple[str, ...] = _SHOWN
) -> list[Cause]:
    """What is wrong with the `fieldRef` of a variable, or of a file where `shown` says so."""
    name, field = reference.get("fieldPath", ""), f"{path}.fieldPath"
    if not name:
        return [required(field)]
    if name in shown or _SUBSCRIPT.fullmatch(name):
        return []
    if name in _HIDDEN or name in _SHOWN:
        return [unsupported(field, name, shown)]
    return [invalid(field, name, f"error converting fieldPath: field label not supported: {name}")]
