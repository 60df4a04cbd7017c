"""Whether a container that has ended is started again. Pure.

Source: Kubernetes documentation, "Pod Lifecycle", "Container restart policy", "Restart rules".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def should_restart(container: Mapping[str, Any], pod_policy: str, exit_code: int) -> bool:
    """By the container's own rules and policy where it has one, else by the Pod's.

    An init container that has ended well is not asked about.
    """
    own = container.get("restartPolicy")
    if own and any(_matches(rule, exit_code) for rule in container.get("restartPolicyRules") or ()):
        return True
    match own or pod_policy:
        case "Never":
            return False
        case "OnFailure":
            return exit_code != 0
    return True


def _matches(rule: Mapping[str, Any], exit_code: int) -> bool:
    codes = rule.get("exitCodes") or {}
    inside = exit_code in (codes.get("values") or ())
    match codes.get("operator"):
        case "In":
            return inside
        case "NotIn":
            return not inside
    return False
