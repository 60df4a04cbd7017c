"""Authorization and admission as the verbs call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from apiserver import notes
from apiserver.admission.request import AdmissionRequest
from apiserver.authz.attributes import Attributes, Decision, forbidden_error
from apiserver.authz.rule import Rule
from apiserver.registry.call import Call
from apiserver.user import User
from kubraft.api.object import Object


class Authorizer(Protocol):
    """Decides by what the cache has; does no I/O."""

    def authorize(self, attributes: Attributes) -> Decision: ...

    def rules_of(self, user: User, namespace: str) -> list[Rule]: ...


class Admission(Protocol):
    """The chain of plugins; each may raise an ApiError to refuse."""

    async def mutate(self, request: AdmissionRequest) -> None: ...

    async def validate(self, request: AdmissionRequest) -> None: ...


class TokenIssuer(Protocol):
    """Signs ServiceAccount tokens."""

    async def issue(self, service_account: Object, request: Object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may do what, and on which conditions. `issuer` is None where there is no signing key."""

    authorizer: Authorizer
    admission: Admission
    issuer: TokenIssuer | None = None

    def check(self, call: Call, verb: str, *, field_selector: str = "") -> None:
        """Raises ForbiddenError where the caller may not."""
        gvk = call.resource.gvk
        attributes = Attributes(
            user=call.user,
            verb=verb,
            group=gvk.group,
            version=gvk.version,
            resource=call.resource.plural,
            subresource=call.subresource,
            namespace=call.namespace,
            name=call.name,
            field_selector=field_selector,
        )
        decision = self.authorizer.authorize(attributes)
        note_decision(decision)
        if not decision.allowed:
            raise forbidden_error(attributes, decision.reason)

    async def admit(self, request: AdmissionRequest) -> None:
        """Both phases of admission, for what is not defaulted and validated between them."""
        await self.admission.mutate(request)
        await self.admission.validate(request)


def note_decision(decision: Decision) -> None:
    """Tell the audit log what authorization said; only its first answer of a request stays."""
    notes.annotate("authorization.k8s.io/decision", "allow" if decision.allowed else "forbid")
    notes.annotate("authorization.k8s.io/reason", decision.reason)
