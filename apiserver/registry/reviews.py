"""Kinds that are questions: they are created, answered in their status, and never stored.

Source: Kubernetes API reference, authorization.k8s.io/v1 and authentication.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.authn.credentials import Credentials
from apiserver.authz.attributes import Attributes
from apiserver.authz.rule import Rule
from apiserver.registry.policy import Policy
from apiserver.registry.resource import Columns, Resource
from apiserver.registry.strategy import Strategy
from apiserver.user import User, user_info
from kubraft.api import gvk
from kubraft.api.errors import BadRequestError, InvalidError, UnauthorizedError
from kubraft.api.fields import escape
from kubraft.api.object import Object

Authenticate = Callable[[Credentials], Awaitable[User]]

AUDIENCES_MAX = 64

_NOTHING = Columns((), lambda _obj, _now: [])


def _row(kind: gvk.GroupVersionKind, plural: str, *, namespaced: bool = False) -> Resource:
    return Resource(kind, plural, Strategy(), _NOTHING, namespaced=namespaced, verbs=("create",))


REVIEWS: tuple[Resource, ...] = (
    _row(gvk.TOKEN_REVIEW, "tokenreviews"),
    _row(gvk.SELF_SUBJECT_REVIEW, "selfsubjectreviews"),
    _row(gvk.SUBJECT_ACCESS_REVIEW, "subjectaccessreviews"),
    _row(gvk.LOCAL_SUBJECT_ACCESS_REVIEW, "localsubjectaccessreviews", namespaced=True),
    _row(gvk.SELF_SUBJECT_ACCESS_REVIEW, "selfsubjectaccessreviews"),
    _row(gvk.SELF_SUBJECT_RULES_REVIEW, "selfsubjectrulesreviews"),
)


async def review(
    policy: Policy, authenticate: Authenticate, user: User, namespace: str, obj: Object
) -> Object:
    """The question with its answer. `obj` is decoded, and taken over.

    Raises:
        BadRequestError, InvalidError: the question is incomplete.
    """
    spec = obj.get("spec") or {}
    match obj["kind"]:
        case "TokenReview":
            obj["status"] = await _token(authenticate, spec)
        case "SelfSubjectReview":
            obj["status"] = {"userInfo": user_info(user)}
        case "SelfSubjectRulesReview":
            obj["status"] = _rules(policy, user, spec)
        case "SelfSubjectAccessReview":
            obj["status"] = _access(policy, user, spec, obj["kind"])
        case kind:
            if kind == "LocalSubjectAccessReview":
                _check_local(spec, namespace)
            obj["status"] = _access(policy, _subject(spec, kind), spec, kind)
    obj["metadata"] = {**(obj.get("metadata") or {}), "creationTimestamp": None}
    return obj


def _access(policy: Policy, user: User, spec: Object, kind: str) -> Object:
    url = spec.get("nonResourceAttributes")
    resource = spec.get("resourceAttributes") or {}
    if ("resourceAttributes" in spec) == (url is not None):
        raise InvalidError(
            f'{kind}.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: '
            "null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            group="authorization.k8s.io",
            kind=kind,
        )
    if url is not None:
        attributes = Attributes(user, url.get("verb", ""), path=url.get("path", ""))
    else:
        _check_selectors(resource, kind)
        text = {name: value for name, value in resource.items() if isinstance(value, str)}
        attributes = Attributes(
            user,
            text.get("verb", ""),
            group=text.get("group", ""),
            version=text.get("version", ""),
            resource=text.get("resource", ""),
            subresource=text.get("subresource", ""),
            namespace=text.get("namespace", ""),
            name=text.get("name", ""),
            field_selector=_field_selector(resource.get("fieldSelector") or {}),
        )
    decision = policy.authorizer.authorize(attributes)
    status: dict[str, Any] = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return status


def _check_selectors(resource: Object, kind: str) -> None:
    """A selector is either raw or parsed, as upstream has it."""
    for field in ("fieldSelector", "labelSelector"):
        selector = resource.get(field)
        if selector is None:
            continue
        at = f"spec.resourceAttributes.{field}"
        raw, requirements = selector.get("rawSelector"), selector.get("requirements")
        if raw and requirements:
            problem = (
                f'{at}.rawSelector: Invalid value: "{raw}": '
                "may not specified at the same time as requirements"
            )
        elif not raw and not requirements:
            problem = (
                f"{at}.requirements: Required value: when {at} is specified, "
                "requirements or rawSelector is required"
            )
        else:
            continue
        raise InvalidError(
            f'{kind}.authorization.k8s.io "" is invalid: {problem}',
            group="authorization.k8s.io",
            kind=kind,
        )


def _field_selector(selector: Object) -> str:
    """As text; requirements that no text can say are left out: then more is asked for."""
    if raw := selector.get("rawSelector"):
        return str(raw)
    terms = []
    for requirement in selector.get("requirements") or ():
        values = list(requirement.get("values") or ())
        sign = {"In": "=", "NotIn": "!="}.get(requirement.get("operator", ""))
        if sign and len(values) == 1:
            terms.append(f"{requirement.get('key', '')}{sign}{escape(values[0])}")
    return ",".join(terms)


def _subject(spec: Object, kind: str) -> User:
    name, groups = spec.get("user", ""), tuple(spec.get("groups") or ())
    if not name and not groups:
        raise InvalidError(
            f'{kind}.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": '
            "at least one of user or group must be specified",
            group="authorization.k8s.io",
            kind=kind,
        )
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(name, uid=spec.get("uid", ""), groups=groups, extra=extra)


def _check_local(spec: Object, namespace: str) -> None:
    wanted = (spec.get("resourceAttributes") or {}).get("namespace", "")
    if wanted != namespace:
        raise BadRequestError(f"namespace mismatch: {wanted} != {namespace}")


def _rules(policy: Policy, user: User, spec: Object) -> Object:
    namespace = spec.get("namespace", "")
    if not namespace:
        raise BadRequestError("no namespace on request")
    rules = policy.authorizer.rules_of(user, namespace)
    return {
        "resourceRules": [_resource_rule(rule) for rule in rules if rule.resources],
        "nonResourceRules": [
            {"verbs": sorted(rule.verbs), "nonResourceURLs": list(rule.urls)}
            for rule in rules
            if rule.urls
        ],
        "incomplete": False,
    }


def _resource_rule(rule: Rule) -> Object:
    shown: Object = {
        "verbs": sorted(rule.verbs),
        "apiGroups": sorted(rule.groups),
        "resources": sorted(rule.resources),
    }
    if rule.names:
        shown["resourceNames"] = sorted(rule.names)
    return shown


async def _token(authenticate: Authenticate, spec: Object) -> Object:
    token, asked = spec.get("token", ""), list(spec.get("audiences") or ())
    if not token:
        raise BadRequestError("token is required for TokenReview in authentication")
    if len(asked) > AUDIENCES_MAX:
        raise BadRequestError(f"spec.audiences: Too many: must have at most {AUDIENCES_MAX} items")
    found: User | None = None
    good: list[str] = []
    each: list[tuple[str, ...]] = [(audience,) for audience in asked]
    for audiences in each or [()]:
        try:
            found = await authenticate(Credentials(bearer_token=token, audiences=audiences))
        except UnauthorizedError:
            continue
        good += audiences
    if found is None:
        return {"user": {}, "error": "invalid bearer token"}
    status: Object = {"authenticated": True, "user": user_info(found)}
    return {**status, "audiences": good} if good else status
