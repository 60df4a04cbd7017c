"""ValidatingAdmissionWebhook: all webhooks that match at once; the first no in their order counts.

Source: upstream's validating dispatcher.
"""

from __future__ import annotations

import asyncio
from typing import Final

from apiserver.admission.equivalents import Views
from apiserver.admission.matching import is_exempt
from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from apiserver.admission.webhook.call import Caller, fail_closed, fail_open
from apiserver.admission.webhook.hook import CallError, Hook, Hooks, RejectedError
from kubraft.api.errors import ApiError
from kubraft.api.gvk import VALIDATING_WEBHOOK_CONFIGURATION

_FAILED_OPEN: Final = "failed-open.validating.webhook.admission.k8s.io"


class ValidatingAdmissionWebhook(Plugin):
    """Asks the webhooks of all ValidatingWebhookConfigurations."""

    name = "ValidatingAdmissionWebhook"

    def __init__(self, context: AdmissionContext, caller: Caller) -> None:
        self._context = context
        self._caller = caller
        self._hooks = Hooks(context, VALIDATING_WEBHOOK_CONFIGURATION)

    def handles(self, request: AdmissionRequest) -> bool:
        return bool(self._hooks.all()) and not is_exempt(request)

    async def validate(self, request: AdmissionRequest) -> None:
        views = Views(request, self._context)
        relevant: list[tuple[Hook, AdmissionRequest]] = []
        for hook in self._hooks.all():
            kind = await hook.wants(request, self._context)
            if kind is None:
                continue
            view = await views.of(kind)
            if self._caller.condition_holds(hook, view, "validating"):
                relevant.append((hook, view))
        if not relevant:
            return
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(self._ask(hook, view, index))
                for index, (hook, view) in enumerate(relevant)
            ]
        for task in asked:
            if (refusal := task.result()) is not None:
                raise refusal

    async def _ask(self, hook: Hook, request: AdmissionRequest, index: int) -> ApiError | None:
        """Why the request fails by this webhook, if it does."""
        try:
            with self._caller.observed(hook, request, "validating"):
                await self._caller.ask(hook, request, mutating=False)
        except RejectedError as error:
            return error.error
        except CallError as error:
            if not hook.ignores_failure:
                return fail_closed(hook, error)
            fail_open(hook, error, f"{_FAILED_OPEN}/round_0_index_{index}")
        return None
