"""Keeps a hook's defects to itself: they become one clear error, and leave no half-made change.

Source: Kubernetes admission webhooks (failure policy, time limits, wording of failures).
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import orjson

from apiserver.admission.plugin import AdmissionPlugin
from apiserver.admission.request import AdmissionRequest
from kubraft.api.errors import ApiError, InternalError
from kubraft.api.object import Object
from kubraft.log import get_logger

TIMEOUT_S_DEFAULT: Final = 10.0
TIMEOUT_S_MAX: Final = 30.0
_CAUSE_CHARS_MAX: Final = 200

_log = get_logger("apiserver.admission")


class GuardedHook:
    """Calls a hook on a copy of the request; takes over its result only if it is sound.

    The hook may have the attributes `failure_policy` ("Fail", the default, or "Ignore"),
    `timeout_s`, and `mutates` (False where `mutate` does nothing).
    """

    def __init__(self, hook: AdmissionPlugin) -> None:
        self._hook = hook
        self.name = str(hook.name)
        self._mutates = bool(getattr(hook, "mutates", True))
        self._ignores_failure = getattr(hook, "failure_policy", "Fail") == "Ignore"
        self._timeout_s = min(float(getattr(hook, "timeout_s", TIMEOUT_S_DEFAULT)), TIMEOUT_S_MAX)

    def handles(self, request: AdmissionRequest) -> bool:
        try:
            return bool(self._hook.handles(request))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the hook's
            self._failed(error)
            return False

    async def mutate(self, request: AdmissionRequest) -> None:
        if not self._mutates:
            return
        seen = _copied(request)
        if not await self._call(self._hook.mutate, seen):
            return
        unsound = _unsound(request.obj, seen.obj)
        if not unsound:
            request.obj = seen.obj
        else:
            self._report(unsound)

    async def validate(self, request: AdmissionRequest) -> None:
        await self._call(self._hook.validate, _copied(request))

    async def _call(
        self, step: Callable[[AdmissionRequest], Awaitable[None]], request: AdmissionRequest
    ) -> bool:
        """Whether the hook did its work; raises its refusal, or its failure if that counts."""
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                await step(request)
        except ApiError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the hook's
            if deadline.expired():
                self._report(f"no answer within {self._timeout_s:g} s")
            else:
                self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        _log.error("admission_hook_failed", hook=self.name, exc_info=error)
        self._report(_one_line(error))

    def _report(self, cause: str) -> None:
        """Fail the request, unless the hook's failure policy says otherwise."""
        if not self._ignores_failure:
            raise InternalError(
                f'Internal error occurred: failed calling admission hook "{self.name}": {cause}'
            )
        _log.warning("admission_hook_ignored", hook=self.name, cause=cause)


def _copied(request: AdmissionRequest) -> AdmissionRequest:
    return replace(request, obj=copy.deepcopy(request.obj), old=copy.deepcopy(request.old))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:_CAUSE_CHARS_MAX]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _unsound(before: Object | None, after: Any) -> str:
    """What a hook may not have done to the object, or ""."""
    if before is None:
        return "" if after is None else "it made an object of a request that has none"
    if not isinstance(after, dict) or not isinstance(after.get("metadata"), dict):
        return "it left no object"
    for field in ("apiVersion", "kind"):
        if after.get(field) != before.get(field):
            return f"it changed {field}"
    for field in ("name", "namespace", "uid", "resourceVersion"):
        if after["metadata"].get(field) != before["metadata"].get(field):
            return f"it changed metadata.{field}"
    try:
        orjson.dumps(after)
    except (TypeError, orjson.JSONEncodeError) as error:
        return f"it left what is no JSON: {error}"
    return ""
