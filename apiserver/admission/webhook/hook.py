"""One webhook of a configuration, read once, and whether it is to be asked.

Source: admissionregistration.k8s.io/v1; upstream's generic webhook plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from apiserver.admission.equivalents import matched_kind
from apiserver.admission.matching import parse_selector, selects_namespace
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from kubraft.api.errors import ApiError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

TIMEOUT_S_DEFAULT: Final = 10
TIMEOUT_S_MAX: Final = 30


class Hook:
    """`config` is the name of the object that it stands in, `index` where among all of its sort."""

    def __init__(self, config: str, index: int, webhook: Mapping[str, Any]) -> None:
        self.config = config
        self.index = index
        self.name = str(webhook.get("name", ""))
        # As upstream: two webhooks of one name in one configuration are two.
        self.uid = f"{config}/{self.name}/{index}"
        self.client_config: Mapping[str, Any] = webhook.get("clientConfig") or {}
        self.versions = tuple(webhook.get("admissionReviewVersions") or ("v1",))
        self.ignores_failure = webhook.get("failurePolicy") == "Ignore"
        self.reinvocable = webhook.get("reinvocationPolicy") == "IfNeeded"
        self.dry_runs = webhook.get("sideEffects") in ("None", "NoneOnDryRun")
        asked_s = webhook.get("timeoutSeconds") or TIMEOUT_S_DEFAULT
        self.timeout_s = max(1, min(int(asked_s), TIMEOUT_S_MAX))
        self.match_conditions = tuple(webhook.get("matchConditions") or ())
        self._match_policy = webhook.get("matchPolicy")
        self._rules = tuple(webhook.get("rules") or ())
        self._namespaces = webhook.get("namespaceSelector")
        self._objects = webhook.get("objectSelector")

    async def wants(
        self, request: AdmissionRequest, context: AdmissionContext
    ) -> GroupVersionKind | None:
        """By which kind of the URL rules and selectors match; conditions are another question.

        Raises:
            NotFoundError, InternalError: that cannot be found out.
        """
        kind = matched_kind(self._rules, self._match_policy, request, context)
        if kind is None or not parse_selector(self._objects).selects_object(request):
            return None
        namespaces = parse_selector(self._namespaces)
        return kind if await selects_namespace(namespaces, request, context) else None


class Hooks:
    """The webhooks of all configurations of one kind: by name, then in their order."""

    def __init__(self, context: AdmissionContext, kind: GroupVersionKind) -> None:
        self._configs: dict[str, Object] = {}
        self._hooks: tuple[Hook, ...] | None = ()
        context.reader.add_handler(kind, self._on_change)

    def all(self) -> tuple[Hook, ...]:
        """Those of now."""
        if self._hooks is None:
            self._hooks = tuple(self._read())
        return self._hooks

    def _on_change(self, before: Object | None, after: Object | None) -> None:
        if after is not None:
            self._configs[after["metadata"]["name"]] = after
        elif before is not None:
            self._configs.pop(before["metadata"]["name"], None)
        self._hooks = None

    def _read(self) -> Iterable[Hook]:
        index = 0
        for name, config in sorted(self._configs.items()):
            for webhook in config.get("webhooks") or ():
                yield Hook(name, index, webhook)
                index += 1


class CallError(Exception):
    """A webhook could not be asked, or answered what makes no sense; failurePolicy decides.

    `code` is what the failure counts as: the HTTP status of the answer, if that is the trouble.
    """

    def __init__(self, message: str, code: int = 503) -> None:
        super().__init__(message)
        self.code = code


class RejectedError(Exception):
    """A webhook said no; `error` is what the client is told."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error
