"""Strategies of webhook configurations and of admission policies with their bindings.

Source: admissionregistration.k8s.io/v1 (defaults); upstream's validation of that group (texts).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from apiserver.cel import CompileError, compile_program
from apiserver.cel.construct import as_maps
from apiserver.registry.causes import duplicate, invalid, required, unsupported
from apiserver.registry.strategy import Strategy
from kubraft.api.errors import Cause
from kubraft.api.names import dns1123_subdomain_errors
from kubraft.api.object import Object

CONDITION_VARIABLES: Final = ("object", "oldObject", "request", "authorizer")
POLICY_VARIABLES: Final = (
    "object",
    "oldObject",
    "request",
    "params",
    "namespaceObject",
    "variables",
    "authorizer",
)
_CONDITIONS_MAX: Final = 64
_POLICIES: Final = ("Fail", "Ignore")
_MATCHES: Final = ("Equivalent", "Exact")
_SIDE_EFFECTS: Final = ("None", "NoneOnDryRun")
_OPERATIONS: Final = ("*", "CREATE", "UPDATE", "DELETE", "CONNECT")
_SCOPES: Final = ("*", "Cluster", "Namespaced")
_ACTIONS: Final = ("Audit", "Deny", "Warn")
_REASONS: Final = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
_PATCHES: Final = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class WebhookStrategy(Strategy):
    """MutatingWebhookConfiguration and ValidatingWebhookConfiguration."""

    has_generation = True

    def __init__(self, *, mutating: bool) -> None:
        self._mutating = mutating

    def default(self, obj: Object) -> None:
        for hook in obj.get("webhooks") or ():
            hook.setdefault("failurePolicy", "Fail")
            hook.setdefault("matchPolicy", "Equivalent")
            hook.setdefault("namespaceSelector", {})
            hook.setdefault("objectSelector", {})
            hook.setdefault("timeoutSeconds", 10)
            if self._mutating:
                hook.setdefault("reinvocationPolicy", "Never")
            service = (hook.get("clientConfig") or {}).get("service")
            if isinstance(service, dict):
                service.setdefault("port", 443)
            _default_rules(hook.get("rules"))

    def validate(self, obj: Object) -> list[Cause]:
        causes: list[Cause] = []
        seen: set[str] = set()
        for index, hook in enumerate(obj.get("webhooks") or ()):
            field, name = f"webhooks[{index}]", hook.get("name") or ""
            causes += _webhook_name(name, f"{field}.name")
            if name in seen:
                causes.append(duplicate(f"{field}.name", name))
            seen.add(name)
            causes += self._webhook(hook, field)
        return causes

    def _webhook(self, hook: dict[str, Any], field: str) -> Iterator[Cause]:
        yield from _rules(hook.get("rules"), f"{field}.rules")
        yield from _one_of(hook, "failurePolicy", _POLICIES, field)
        yield from _one_of(hook, "matchPolicy", _MATCHES, field)
        if hook.get("sideEffects") is None:
            yield required(f"{field}.sideEffects", "must specify one of None, NoneOnDryRun")
        yield from _one_of(hook, "sideEffects", _SIDE_EFFECTS, field)
        if self._mutating:
            yield from _one_of(hook, "reinvocationPolicy", ("IfNeeded", "Never"), field)
        seconds = hook.get("timeoutSeconds")
        if isinstance(seconds, int) and not 1 <= seconds <= 30:
            why = "the timeout value must be between 1 and 30 seconds"
            yield invalid(f"{field}.timeoutSeconds", seconds, why)
        versions = hook.get("admissionReviewVersions") or ()
        if not versions:
            why = "must specify one of v1, v1beta1"
            yield required(f"{field}.admissionReviewVersions", why)
        elif not {"v1", "v1beta1"} & set(versions):
            why = "must include at least one of v1, v1beta1"
            yield invalid(f"{field}.admissionReviewVersions", list(versions), why)
        yield from _client_config(hook.get("clientConfig") or {}, f"{field}.clientConfig")
        yield from _conditions(hook, field, CONDITION_VARIABLES)


class PolicyStrategy(Strategy):
    """ValidatingAdmissionPolicy and MutatingAdmissionPolicy."""

    has_generation = True

    def __init__(self, *, mutating: bool) -> None:
        self._mutating = mutating
        # Validating ones have what a controller finds out of their types.
        self.has_status = not mutating

    def default(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        spec.setdefault("failurePolicy", "Fail")
        _default_match(spec.get("matchConstraints"))

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        causes = [*_one_of(spec, "failurePolicy", _POLICIES, "spec")]
        match = spec.get("matchConstraints")
        if not match:
            causes.append(required("spec.matchConstraints"))
        elif not match.get("resourceRules"):
            causes.append(required("spec.matchConstraints.resourceRules"))
        else:
            causes += _rules(match["resourceRules"], "spec.matchConstraints.resourceRules")
        causes += _conditions(spec, "spec", (*CONDITION_VARIABLES, "params", "namespaceObject"))
        for index, variable in enumerate(spec.get("variables") or ()):
            field, name = f"spec.variables[{index}]", str(variable.get("name") or "")
            if not _IDENTIFIER.fullmatch(name):
                causes.append(invalid(f"{field}.name", name, "name is not a valid CEL identifier"))
            causes += _expression(variable, field, POLICY_VARIABLES)
        return [*causes, *(self._mutations(spec) if self._mutating else _validations(spec))]

    @staticmethod
    def _mutations(spec: dict[str, Any]) -> Iterator[Cause]:
        mutations = spec.get("mutations") or ()
        if not mutations:
            yield required("spec.mutations", "mutations must contain at least one item")
        yield from _one_of(spec, "reinvocationPolicy", ("IfNeeded", "Never"), "spec")
        for index, mutation in enumerate(mutations):
            field, kind = f"spec.mutations[{index}]", mutation.get("patchType")
            if not kind:
                yield required(f"{field}.patchType")
                continue
            yield from _one_of(mutation, "patchType", tuple(_PATCHES), field)
            for own, name in _PATCHES.items():
                part = mutation.get(name)
                if kind == own and not part:
                    yield required(f"{field}.{name}")
                elif kind == own:
                    yield from _expression(part, f"{field}.{name}", POLICY_VARIABLES)
                elif kind in _PATCHES and part:
                    why = f"{name} may not be set when patchType is {kind}"
                    yield invalid(f"{field}.{name}", part, why)


class PolicyBindingStrategy(Strategy):
    """ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding."""

    has_generation = True

    def __init__(self, *, mutating: bool) -> None:
        self._mutating = mutating

    def default(self, obj: Object) -> None:
        _default_match((obj.get("spec") or {}).get("matchResources"))

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        causes: list[Cause] = []
        if not spec.get("policyName"):
            causes.append(required("spec.policyName"))
        if ref := spec.get("paramRef"):
            causes += _param_ref(ref)
        return causes if self._mutating else [*causes, *_actions(spec)]


def _param_ref(ref: dict[str, Any]) -> Iterator[Cause]:
    field = "spec.paramRef"
    if bool(ref.get("name")) == (ref.get("selector") is not None):
        yield required(field, "one of name or selector must be specified")
    if ref.get("parameterNotFoundAction") is None:
        yield required(f"{field}.parameterNotFoundAction")
    yield from _one_of(ref, "parameterNotFoundAction", ("Allow", "Deny"), field)


def _actions(spec: dict[str, Any]) -> Iterator[Cause]:
    actions, field = spec.get("validationActions") or (), "spec.validationActions"
    if not actions:
        yield required(field, "at least one validation action is required")
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            yield unsupported(f"{field}[{index}]", action, _ACTIONS)
        if action in actions[:index]:
            yield duplicate(f"{field}[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        why = "must not contain both Deny and Warn (repeating the same validation failure "
        yield invalid(
            field,
            list(actions),
            why + "information in the API response and headers serves no purpose)",
        )


def _validations(spec: dict[str, Any]) -> Iterator[Cause]:
    validations = spec.get("validations") or ()
    annotations = spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        why = "validations or auditAnnotations must contain at least one item"
        yield required("spec.validations", why)
    for index, validation in enumerate(validations):
        field = f"spec.validations[{index}]"
        yield from _expression(validation, field, POLICY_VARIABLES)
        if validation.get("messageExpression"):
            yield from _expression(validation, field, POLICY_VARIABLES, "messageExpression")
        if validation.get("reason"):
            yield from _one_of(validation, "reason", _REASONS, field)
    for index, annotation in enumerate(annotations):
        field = f"spec.auditAnnotations[{index}]"
        if not annotation.get("key"):
            yield required(f"{field}.key")
        yield from _expression(annotation, field, POLICY_VARIABLES, "valueExpression")


def _default_rules(rules: Any) -> None:
    for rule in rules or ():
        rule.setdefault("scope", "*")


def _default_match(match: Any) -> None:
    if isinstance(match, dict):
        match.setdefault("matchPolicy", "Equivalent")
        match.setdefault("namespaceSelector", {})
        match.setdefault("objectSelector", {})
        _default_rules(match.get("resourceRules"))
        _default_rules(match.get("excludeResourceRules"))


def _webhook_name(name: str, field: str) -> Iterator[Cause]:
    if not name:
        yield required(field)
        return
    for error in dns1123_subdomain_errors(name):
        yield invalid(field, name, error)
    if name.count(".") < 2:
        why = "should be a domain with at least three segments separated by dots"
        yield invalid(field, name, why)


def _one_of(
    obj: dict[str, Any], name: str, choices: tuple[str, ...], field: str
) -> Iterator[Cause]:
    value = obj.get(name)
    if value is not None and value not in choices:
        yield unsupported(f"{field}.{name}", value, choices)


def _rules(rules: Any, field: str) -> Iterator[Cause]:
    for index, rule in enumerate(rules or ()):
        at = f"{field}[{index}]"
        for part in ("operations", "apiGroups", "apiVersions", "resources"):
            if not rule.get(part):
                yield required(f"{at}.{part}")
        for place, operation in enumerate(rule.get("operations") or ()):
            if operation not in _OPERATIONS:
                yield unsupported(f"{at}.operations[{place}]", operation, _OPERATIONS)
        for part in ("operations", "apiGroups", "apiVersions"):
            items = rule.get(part) or ()
            if len(items) > 1 and "*" in items:
                why = f"if '*' is present, must not specify other {_NOUNS[part]}"
                yield invalid(f"{at}.{part}", list(items), why)
        yield from _one_of(rule, "scope", _SCOPES, at)


_NOUNS: Final = {
    "operations": "operations",
    "apiGroups": "API groups",
    "apiVersions": "API versions",
}


def _client_config(config: dict[str, Any], field: str) -> Iterator[Cause]:
    url: str | None = config.get("url")
    service: Any = config.get("service")
    if (url is None) == (service is None):
        yield required(field, "exactly one of url or service is required")
        return
    if url is not None:
        yield from _url(str(url), f"{field}.url")
        return
    for part in ("name", "namespace"):
        if not service.get(part):
            yield required(f"{field}.service.{part}")
    port = service.get("port", 443)
    if isinstance(port, int) and not 1 <= port <= 65535:
        why = "port is not valid: must be between 1 and 65535, inclusive"
        yield invalid(f"{field}.service.port", port, why)
    path = service.get("path")
    if path and not str(path).startswith("/"):
        yield invalid(f"{field}.service.path", path, "must start with a '/'")


def _url(url: str, field: str) -> Iterator[Cause]:
    form = "; desired format: https://host[/path]"
    parts = urlsplit(url)
    if parts.scheme != "https":
        yield invalid(field, url, f"'https' is the only allowed URL scheme{form}")
    if not parts.netloc:
        yield invalid(field, url, f"host must be specified{form}")
    if "@" in parts.netloc:
        yield invalid(field, url, "user information is not permitted in the URL")
    if parts.fragment:
        yield invalid(field, url, "fragments are not permitted in the URL")
    if parts.query:
        yield invalid(field, url, "query parameters are not permitted in the URL")


def _conditions(obj: dict[str, Any], field: str, variables: tuple[str, ...]) -> Iterator[Cause]:
    conditions = obj.get("matchConditions") or ()
    if len(conditions) > _CONDITIONS_MAX:
        why = f"Too many: {len(conditions)}: must have at most {_CONDITIONS_MAX} items"
        yield Cause("FieldValueTooMany", why, f"{field}.matchConditions")
        return
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, name = f"{field}.matchConditions[{index}]", condition.get("name")
        if not name:
            yield required(f"{at}.name")
        elif name in seen:
            yield duplicate(f"{at}.name", name)
        seen.add(str(name))
        yield from _expression(condition, at, variables)


def _expression(
    obj: dict[str, Any], field: str, variables: Iterable[str], name: str = "expression"
) -> Iterator[Cause]:
    text = obj.get(name)
    if not isinstance(text, str) or not text.strip():
        yield required(f"{field}.{name}", f"{name} is not specified")
        return
    try:
        compile_program(as_maps(text), tuple(variables))
    except CompileError as error:
        yield invalid(f"{field}.{name}", text, str(error))
