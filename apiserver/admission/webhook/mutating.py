"""MutatingAdmissionWebhook: webhooks one after the other, each on what the last one left.

Source: upstream's mutating dispatcher and reinvocation context.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from apiserver import notes
from apiserver.admission.equivalents import Views
from apiserver.admission.matching import is_exempt
from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from apiserver.admission.webhook.call import Caller, fail_closed, fail_open
from apiserver.admission.webhook.hook import CallError, Hook, Hooks, RejectedError
from kubraft.api.errors import ApiError, InternalError
from kubraft.api.gvk import MUTATING_WEBHOOK_CONFIGURATION
from kubraft.api.object import Object

_PREFIX: Final = "mutation.webhook.admission.k8s.io"
_FAILED_OPEN: Final = "failed-open.mutation.webhook.admission.k8s.io"
_PATCH: Final = "patch.webhook.admission.k8s.io"


@dataclass
class Passes:
    """What lasts from the first pass over the plugins to the second."""

    last: Object | None = None
    invoked: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)

    def require(self) -> None:
        """All that were asked and want to hear of changes are asked once more."""
        self.again |= self.invoked
        self.invoked = set()


class MutatingAdmissionWebhook(Plugin):
    """Asks the webhooks of all MutatingWebhookConfigurations."""

    name = "MutatingAdmissionWebhook"

    def __init__(self, context: AdmissionContext, caller: Caller) -> None:
        self._context = context
        self._caller = caller
        self._hooks = Hooks(context, MUTATING_WEBHOOK_CONFIGURATION)

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._hooks.all()) and not is_exempt(request)

    async def mutate(self, request: AdmissionRequest) -> None:
        second = self.name in request.passes
        passes: Passes = request.passes.setdefault(self.name, Passes())
        if second and passes.last != request.obj:
            passes.require()
        views = Views(request, self._context)
        for hook in self._hooks.all():
            if second and hook.uid not in passes.again:
                continue
            kind = await hook.wants(request, self._context)
            if kind is None:
                continue
            view = await views.of(kind)
            if not self._caller.condition_holds(hook, view, "admit"):
                continue
            place = f"round_{int(second)}_index_{hook.index}"
            if await self._call(hook, view, place):
                await views.take_over(view)
                passes.require()
                request.reinvoke = True
            if hook.reinvocable:
                passes.invoked.add(hook.uid)
        passes.last = copy.deepcopy(request.obj)

    async def _call(self, hook: Hook, request: AdmissionRequest, place: str) -> bool:
        """Whether the webhook changed the object."""
        changed = False
        try:
            with self._caller.observed(hook, request, "admit"):
                response = await self._caller.ask(hook, request, mutating=True)
                if response.patch:
                    changed = self._apply(hook, request, response.patch, place)
        except RejectedError as error:
            raise error.error from error
        except CallError as error:
            if not hook.ignores_failure:
                raise fail_closed(hook, error) from error
            fail_open(hook, error, f"{_FAILED_OPEN}/{place}")
        finally:
            said = {"configuration": hook.config, "webhook": hook.name, "mutated": changed}
            notes.annotate(f"{_PREFIX}/{place}", orjson.dumps(said).decode())
        return changed

    def _apply(self, hook: Hook, request: AdmissionRequest, patch: list[Any], place: str) -> bool:
        if request.obj is None:
            raise InternalError(
                f'Internal error occurred: admission webhook "{hook.name}" attempted to modify '
                "the object, which is not supported for this operation"
            )
        made = self._patched(request, patch)
        changed = made != request.obj
        said = {
            "configuration": hook.config,
            "webhook": hook.name,
            "patch": patch,
            "patchType": "JSONPatch",
        }
        notes.annotate_request(f"{_PATCH}/{place}", orjson.dumps(said).decode())
        request.obj = made
        return changed

    def _patched(self, request: AdmissionRequest, patch: list[Any]) -> Object:
        """The object with a patch, in the shape of its kind.

        Raises:
            InternalError: the patch does not apply, or leaves what is no such object.
        """
        before = request.obj
        assert before is not None
        try:
            made = self._context.patch(request.gvk, copy.deepcopy(before), patch)
            made = self._context.decode(request.gvk, made)
        except ApiError as error:
            raise InternalError(f"Internal error occurred: {error.message}") from error
        for part in ("name", "namespace", "uid"):
            if _metadata(made).get(part) != _metadata(before).get(part):
                raise InternalError(f"Internal error occurred: metadata.{part} may not be changed")
        return made


def _metadata(obj: Object) -> Mapping[str, Any]:
    """Options of connect requests have none."""
    return obj.get("metadata") or {}
