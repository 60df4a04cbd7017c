"""Requests as rules of another version see them: matchPolicy Equivalent.

A rule on one version of a resource covers requests by all its versions; who is asked by it gets
the objects in the version that the rule names.

Source: Kubernetes documentation, "Matching requests: matchPolicy".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apiserver.admission.matching import matches_rule
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

Covers = Callable[[Mapping[str, Any], AdmissionRequest, tuple[str, str] | None], bool]


def matched_kind(
    rules: Sequence[Mapping[str, Any]],
    match_policy: str | None,
    request: AdmissionRequest,
    context: AdmissionContext,
    covers: Covers = matches_rule,
) -> GroupVersionKind | None:
    """The kind of the URL by which one of the rules covers a request; None: none does.

    What the request says itself comes first, then the other versions, earlier rules before later.
    """
    if any(covers(rule, request, None) for rule in rules):
        return request.served_kind
    if match_policy == "Exact":
        return None
    others = context.versions.of(request.served_kind, request.subresource)
    for rule in rules:
        for kind in others:
            if covers(rule, request, (kind.group, kind.version)):
                return kind
    return None


class Views:
    """One request in the versions that rules name, each made once for the same object.

    A view has objects of its own: what is done to them comes back by `take_over`.
    """

    def __init__(self, request: AdmissionRequest, context: AdmissionContext) -> None:
        self._request = request
        self._versions = context.versions
        self._made: dict[GroupVersionKind, AdmissionRequest] = {}

    async def of(self, served: GroupVersionKind) -> AdmissionRequest:
        """The request as one of another kind of the URL.

        Raises:
            InternalError: an object cannot be converted.
        """
        request = self._request
        if served == request.served_kind:
            return request
        if served not in self._made:
            self._made[served] = await self._view(served)
        return self._made[served]

    async def take_over(self, view: AdmissionRequest) -> None:
        """Let the request have the object of a view of it; the other views are made anew.

        Raises:
            InternalError: it cannot be converted back.
        """
        request = self._request
        if view is not request:
            request.obj = await self._converted(view.obj, view.gvk, request.gvk)
            self._made = {kind: each for kind, each in self._made.items() if each is view}
        else:
            self._made.clear()

    async def _view(self, served: GroupVersionKind) -> AdmissionRequest:
        request = self._request
        if request.parent is not None:  # a Scale or a Binding is the same in all versions
            return replace(request, parent=served, original=request)
        return replace(
            request,
            gvk=served,
            obj=await self._converted(request.obj, request.gvk, served),
            old=await self._converted(request.old, request.gvk, served),
            original=request,
        )

    async def _converted(
        self, obj: Object | None, before: GroupVersionKind, after: GroupVersionKind
    ) -> Object | None:
        if obj is None or before == after:
            return obj
        return await self._versions.convert(obj, before, after)
