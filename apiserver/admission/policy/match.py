"""What a policy or a binding is about, and the parameters of a binding.

Source: Kubernetes documentation, "Validating Admission Policy"; upstream's policy matcher and
CollectParams (messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apiserver.admission.equivalents import Views, matched_kind
from apiserver.admission.matching import ParsedSelector, matches_rule, selects_namespace
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.gvk import GroupVersionKind, parse_api_version
from kubraft.api.object import Object, labels_of


class ConfigurationError(Exception):
    """A policy or a binding cannot be used; failurePolicy decides."""


async def matches(
    match: Mapping[str, Any] | None, request: AdmissionRequest, context: AdmissionContext
) -> GroupVersionKind | None:
    """By which kind of the URL MatchResources cover a request, if they do; a binding's may be None.

    Raises:
        ConfigurationError: a selector is malformed, or the namespace is not known.
    """
    if match is None:
        return request.served_kind
    policy = match.get("matchPolicy")
    excluded, rules = match.get("excludeResourceRules") or (), match.get("resourceRules")
    if matched_kind(excluded, policy, request, context, _covers) is not None:
        return None
    kind: GroupVersionKind | None = request.served_kind
    if rules:
        kind = matched_kind(rules, policy, request, context, _covers)
    if kind is None:
        return None
    try:
        if not ParsedSelector(match.get("objectSelector")).selects_object(request):
            return None
        namespaces = ParsedSelector(match.get("namespaceSelector"))
        return kind if await selects_namespace(namespaces, request, context) else None
    except (ValueError, ApiError) as error:
        raise ConfigurationError(str(error)) from error


async def view_of(views: Views, kind: GroupVersionKind) -> AdmissionRequest:
    """The request in the version that a policy asks for.

    Raises:
        ConfigurationError: its objects cannot be converted.
    """
    try:
        return await views.of(kind)
    except ApiError as error:
        raise ConfigurationError(error.message) from error


def _covers(
    rule: Mapping[str, Any], request: AdmissionRequest, group_version: tuple[str, str] | None
) -> bool:
    names = rule.get("resourceNames")
    return matches_rule(rule, request, group_version) and (not names or request.name in names)


async def parameters(
    kind: Mapping[str, Any] | None,
    ref: Mapping[str, Any] | None,
    request: AdmissionRequest,
    context: AdmissionContext,
) -> list[Object | None]:
    """The objects that a policy is evaluated with, one after the other; [None] without any.

    Raises:
        ConfigurationError: they cannot be found.
    """
    if kind is None or ref is None:
        return [None]
    gvk = _kind_of(kind)
    namespaced = context.is_namespaced(gvk)
    if namespaced is None:
        raise ConfigurationError(f"paramKind kind `{gvk}` not known")
    namespace = str(ref.get("namespace") or "")
    if namespaced:
        namespace = namespace or request.namespace
        if not namespace:
            raise ConfigurationError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped "
                "resources"
            )
    elif namespace:
        raise ConfigurationError(
            "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
        )
    try:
        found = await _find(gvk, namespace, ref, context)
    except KeyError as error:
        said = f"paramKind kind `{gvk}` not yet synced to use for admission"
        raise ConfigurationError(said) from error
    if not found and ref.get("parameterNotFoundAction") == "Deny":
        raise ConfigurationError(
            "no params found for policy binding with `Deny` parameterNotFoundAction"
        )
    return list(found)


def _kind_of(kind: Mapping[str, Any]) -> GroupVersionKind:
    try:
        group, version = parse_api_version(str(kind.get("apiVersion", "")))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return GroupVersionKind(group, version, str(kind.get("kind", "")))


async def _find(
    gvk: GroupVersionKind, namespace: str, ref: Mapping[str, Any], context: AdmissionContext
) -> list[Object]:
    name = ref.get("name")
    if not name:
        try:
            selector = ParsedSelector(ref.get("selector"))
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        return [
            each
            for each in context.reader.list(gvk, namespace)
            if selector.selects(labels_of(each))
        ]
    cached = context.reader.get(gvk, namespace, str(name))
    if cached is not None:
        return [cached]
    try:  # the cache may lag behind a parameter that was made a moment ago
        return [await context.writer.get(gvk, namespace, str(name))]
    except NotFoundError:
        return []
