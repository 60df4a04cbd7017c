"""ServiceAccounts as users, and the Secrets that hold tokens of theirs.

Source: Kubernetes documentation, "Managing Service Accounts", "Secrets" (service-account-token).
"""

from __future__ import annotations

from typing import Final

SECRET_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type
# Annotations of such a Secret.
ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
ACCOUNT_UID: Final = "kubernetes.io/service-account.uid"

# Tokens of Secrets: their issuer, and what their claims begin with.
LEGACY_ISSUER: Final = "kubernetes/serviceaccount"
LEGACY_CLAIM: Final = "kubernetes.io/serviceaccount/"


def user_name(namespace: str, name: str) -> str:
    """The name under which a ServiceAccount acts."""
    return f"system:serviceaccount:{namespace}:{name}"
