"""The policies of one sort with their bindings, as the cache has them.

Source: admissionregistration.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from apiserver.admission.request import AdmissionContext
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object


class Bound(NamedTuple):
    """A policy and one of its bindings."""

    policy: Object
    binding: Object

    @property
    def names(self) -> tuple[str, str]:
        return self.policy["metadata"]["name"], self.binding["metadata"]["name"]

    @property
    def ignores_failure(self) -> bool:
        return bool(self.policy["spec"].get("failurePolicy") == "Ignore")


class Policies:
    """Pairs by name of policy and binding; a policy without binding does nothing."""

    def __init__(
        self, context: AdmissionContext, policy: GroupVersionKind, binding: GroupVersionKind
    ) -> None:
        self._policies: dict[str, Object] = {}
        self._bindings: dict[str, Object] = {}
        self._bound: tuple[Bound, ...] | None = ()
        context.reader.add_handler(policy, lambda old, new: self._put(self._policies, old, new))
        context.reader.add_handler(binding, lambda old, new: self._put(self._bindings, old, new))

    def all(self) -> tuple[Bound, ...]:
        """Those of now."""
        if self._bound is None:
            self._bound = tuple(self._pairs())
        return self._bound

    def _put(self, into: dict[str, Object], old: Object | None, new: Object | None) -> None:
        if new is not None:
            into[new["metadata"]["name"]] = new
        elif old is not None:
            into.pop(old["metadata"]["name"], None)
        self._bound = None

    def _pairs(self) -> Iterator[Bound]:
        for name, policy in sorted(self._policies.items()):
            for _, binding in sorted(self._bindings.items()):
                if binding["spec"].get("policyName") == name:
                    yield Bound(policy, binding)
