"""NamespaceLifecycle: objects need a namespace that exists, new ones a namespace that stays.

Source: upstream's plugin of that name (texts, immortal namespaces).
"""

from __future__ import annotations

from typing import Final

from apiserver.admission.matching import stored_namespace
from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from kubraft.api.errors import Cause, ForbiddenError
from kubraft.api.gvk import NAMESPACE
from kubraft.api.object import Object, is_terminating

IMMORTAL: Final = frozenset({"default", "kube-system", "kube-public"})

# For this long after its deletion a namespace is read from the store: the cache may not know yet.
RECENTLY_DELETED_S: Final = 30
_DELETED_MAX: Final = 1_024


class NamespaceLifecycle(Plugin):
    """Looks into the cache, and into the store for what the cache does not know (yet)."""

    name = "NamespaceLifecycle"

    def __init__(self, context: AdmissionContext) -> None:
        self._reader = context.reader
        self._writer = context.writer
        self._clock = context.clock
        self._deleted_at_s: dict[str, float] = {}

    def handles(self, request: AdmissionRequest) -> bool:
        if request.gvk == NAMESPACE and not request.subresource:
            return request.operation is Operation.DELETE
        return bool(request.namespace) and request.operation in (
            Operation.CREATE,
            Operation.UPDATE,
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        if request.gvk == NAMESPACE:
            if request.operation is Operation.DELETE:
                self._delete(request)
            return
        namespace = await self._namespace(request.namespace)
        if request.operation is Operation.CREATE and _ends(namespace):
            raise _terminating(request)

    def _delete(self, request: AdmissionRequest) -> None:
        if request.name in IMMORTAL:
            raise request.forbidden("this namespace may not be deleted")
        self._deleted_at_s.pop(request.name, None)
        if len(self._deleted_at_s) >= _DELETED_MAX:
            del self._deleted_at_s[next(iter(self._deleted_at_s))]
        self._deleted_at_s[request.name] = self._clock.monotonic_s()

    async def _namespace(self, name: str) -> Object:
        cached = self._reader.get(NAMESPACE, "", name)
        deleted_at_s = self._deleted_at_s.get(name)
        if deleted_at_s is not None:
            if self._clock.monotonic_s() - deleted_at_s < RECENTLY_DELETED_S:
                cached = None
            else:
                del self._deleted_at_s[name]
        return cached if cached is not None else await stored_namespace(name, self._writer)


def _ends(namespace: Object) -> bool:
    phase = (namespace.get("status") or {}).get("phase")
    return is_terminating(namespace) or phase == "Terminating"


def _terminating(request: AdmissionRequest) -> ForbiddenError:
    namespace = request.namespace
    return request.forbidden(
        f"unable to create new content in namespace {namespace} because it is being terminated",
        causes=[
            Cause(
                "NamespaceTerminating",
                f"namespace {namespace} is being terminated",
                "metadata.namespace",
            )
        ],
    )
