"""What is asked of authorization, and what it answers.

Source: Kubernetes authorization, "Review your request attributes"; texts of upstream's
responsewriters and apimachinery errors.
"""

from __future__ import annotations

from dataclasses import dataclass

from apiserver.user import User
from kubraft.api.errors import ForbiddenError


@dataclass(frozen=True, slots=True)
class Attributes:
    """One action of one user: on a resource, or, where `path` is set, on a URL that is none.

    `field_selector` is that of a list or watch: the Node authorizer lets a node list only what is
    its own.
    """

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer; `reason`, if any, is for the audit log when allowed, else for the user."""

    allowed: bool
    reason: str = ""


DENIED = Decision(allowed=False)


def forbidden_error(attributes: Attributes, reason: str = "") -> ForbiddenError:
    """Upstream's error for what authorization denied; `reason` is the Decision's."""
    a = attributes
    if a.path:
        message = f'forbidden: User "{a.user.name}" cannot {a.verb} path "{a.path}"'
        return ForbiddenError(_with_reason(message, reason))
    resource = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
    qualified = f"{a.resource}.{a.group}" if a.group else a.resource
    subject = f'{qualified} "{a.name}"' if a.name else qualified
    scope = f'in the namespace "{a.namespace}"' if a.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{a.user.name}" cannot {a.verb} resource "{resource}" '
        f'in API group "{a.group}" {scope}'
    )
    return ForbiddenError(
        _with_reason(message, reason), group=a.group, kind=a.resource, name=a.name
    )


def _with_reason(message: str, reason: str) -> str:
    return f"{message}: {reason}" if reason else message
