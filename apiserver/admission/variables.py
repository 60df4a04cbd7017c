"""What expressions see of a request.

Source: Kubernetes documentation, "Validating Admission Policy": variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.admission.request import AdmissionRequest
from apiserver.admission.webhook.review import attributes_of
from apiserver.authz import Authorizer
from apiserver.authz.attributes import Attributes
from apiserver.cel.authorizer import Check
from apiserver.user import User


def request_variables(request: AdmissionRequest) -> dict[str, Any]:
    """`object`, `oldObject`, `request` and `authorizer`."""
    made = attributes_of(request)
    # Absent strings read as empty ones, as upstream.
    for field in ("name", "namespace", "subResource", "requestSubResource"):
        made.setdefault(field, "")
    made["userInfo"] = {"uid": "", "groups": [], "extra": {}, **made["userInfo"]}
    served = request.served_kind
    own = {
        "group": served.group,
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name,
    }
    return {
        "object": request.obj,
        "oldObject": request.old,
        "request": made,
        "authorizer": {"requestResource": own},
    }


def checker(authorizer: Authorizer, user: User) -> Check:
    """Decides what expressions ask of `authorizer`."""

    def check(asked: Mapping[str, str], verb: str) -> tuple[bool, str]:
        who = user
        if account := asked.get("account"):
            namespace = account.split(":")[2]
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
            who = User(account, groups=(*groups, "system:authenticated"))
        fields = ("group", "resource", "subresource", "namespace", "name", "path")
        parts = {field: str(asked[field]) for field in fields if field in asked}
        decision = authorizer.authorize(Attributes(who, verb, **parts))
        return decision.allowed, decision.reason

    return check
