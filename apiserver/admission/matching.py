"""Which requests a webhook or a policy is about. Pure, but for the reader of namespaces.

Source: Kubernetes documentation, "Dynamic Admission Control": rules, scope, selectors, matchPolicy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from apiserver.reader import Writer
from kubraft.api.errors import InternalError, NotFoundError
from kubraft.api.gvk import NAMESPACE
from kubraft.api.labels import EVERYTHING, selector_from_object
from kubraft.api.object import Object

ADMISSION_GROUP: Final = "admissionregistration.k8s.io"
_EXEMPT_KINDS: Final = frozenset(
    f"{kind}{suffix}"
    for kind, suffixes in (
        ("ValidatingWebhook", ("Configuration",)),
        ("MutatingWebhook", ("Configuration",)),
        ("ValidatingAdmissionPolicy", ("", "Binding")),
        ("MutatingAdmissionPolicy", ("", "Binding")),
    )
    for suffix in suffixes
)
# Questions to the API server, which no webhook may answer in its place.
_EXEMPT_GROUPS: Final = ("authentication.k8s.io", "authorization.k8s.io")


def is_exempt(request: AdmissionRequest) -> bool:
    """Whether no webhook and no policy is asked: what configures them, and reviews."""
    kind = request.gvk
    if kind.group == ADMISSION_GROUP:
        return kind.kind in _EXEMPT_KINDS
    return kind.group in _EXEMPT_GROUPS and not request.subresource


def namespace_of(request: AdmissionRequest) -> str:
    """A request about a namespace counts as one in it, as upstream."""
    if request.gvk == NAMESPACE:
        return request.name or request.shown_name
    return request.namespace


def matches_rule(
    rule: Mapping[str, Any], request: AdmissionRequest, group_version: tuple[str, str] | None = None
) -> bool:
    """Whether a rule with operations covers the request, under its own version or another."""
    served = request.served_kind
    group, version = group_version or (served.group, served.version)
    return (
        _in_scope(rule.get("scope") or "*", request)
        and _has(rule.get("operations"), request.operation)
        and _has(rule.get("apiGroups"), group)
        and _has(rule.get("apiVersions"), version)
        and _has_resource(rule.get("resources"), request)
    )


def _in_scope(scope: str, request: AdmissionRequest) -> bool:
    whole = request.resource == "namespaces" and not request.served_kind.group
    inside = bool(request.namespace) and not whole
    return scope == "*" or (scope == "Namespaced") == inside


def _has(items: Sequence[str] | None, wanted: str) -> bool:
    return any(item in ("*", wanted) for item in items or ())


def _has_resource(items: Sequence[str] | None, request: AdmissionRequest) -> bool:
    for item in items or ():
        resource, _, sub = item.partition("/")
        if resource in ("*", request.resource) and sub in ("*", request.subresource):
            return True
    return False


class ParsedSelector:
    """A LabelSelector of a configuration; None, and {}, select everything."""

    def __init__(self, selector: Mapping[str, Any] | None) -> None:
        """Raises ValueError where it is malformed."""
        self._selector = selector_from_object(selector) if selector else EVERYTHING
        self.is_empty = self._selector.is_everything()

    def selects(self, labels: Mapping[str, str]) -> bool:
        return self._selector.matches(labels)

    def selects_object(self, request: AdmissionRequest) -> bool:
        """Whether the new object or the old one has the labels."""
        return self.is_empty or any(
            self.selects((obj.get("metadata") or {}).get("labels") or {})
            for obj in (request.obj, request.old)
            if obj is not None
        )


async def selects_namespace(
    selector: ParsedSelector, request: AdmissionRequest, context: AdmissionContext
) -> bool:
    """Whether the namespace of the request has the labels; cluster-scoped objects have them all.

    Raises:
        NotFoundError: there is no such namespace.
    """
    if selector.is_empty or not namespace_of(request):
        return True
    about = request.gvk == NAMESPACE and not request.subresource
    if about and request.operation is not Operation.DELETE:
        found = request.obj
    else:
        found = await find_namespace(namespace_of(request), context)
    return selector.selects(((found or {}).get("metadata") or {}).get("labels") or {})


async def find_namespace(name: str, context: AdmissionContext) -> Object:
    """A namespace of the cache; where it is not known there, of the store.

    Raises:
        NotFoundError: there is none.
    """
    cached = context.reader.get(NAMESPACE, "", name)
    return cached if cached is not None else await stored_namespace(name, context.writer)


async def stored_namespace(name: str, writer: Writer) -> Object:
    """A namespace of the store.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return await writer.get(NAMESPACE, "", name)
    except NotFoundError:
        raise NotFoundError(
            f'namespaces "{name}" not found', kind="namespaces", name=name
        ) from None


def parse_selector(selector: Mapping[str, Any] | None) -> ParsedSelector:
    """As ParsedSelector, with the error of a request.

    Raises:
        InternalError: it is malformed.
    """
    try:
        return ParsedSelector(selector)
    except ValueError as error:
        raise InternalError(f"Internal error occurred: {error}") from error
