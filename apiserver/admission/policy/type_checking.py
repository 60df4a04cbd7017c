"""Warnings on expressions of a policy that do not fit the types of what it matches. Pure.

They change nothing of what the policy does.

Source: Kubernetes documentation, "Validating Admission Policy": type checking; upstream's
policy/validating typechecking (what is checked, texts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from apiserver.admission.policy.scope import VARIABLES
from apiserver.cel import CompileError
from apiserver.cel.declared import Declarations, Schema
from apiserver.structural.cel_value import escaped
from kubraft.api.gvk import GroupVersionKind, parse_api_version
from kubraft.api.object import Object

KINDS_MAX: Final = 10
# The kinds of a resource (group, version, plural).
KindsOf = Callable[[str, str, str], Iterable[GroupVersionKind]]
# The schema of a kind, without references; None where there is none.
SchemaOf = Callable[[GroupVersionKind], Schema | None]


def expression_warnings(
    policy: Object, kinds_of: KindsOf, schema_of: SchemaOf
) -> list[dict[str, str]]:
    """What `status.typeChecking.expressionWarnings` says; most often nothing."""
    spec = policy["spec"]
    params = _params(spec.get("paramKind"), schema_of)
    checks = [
        (kind, schema, Declarations(_fields))
        for kind in _kinds(spec, kinds_of)
        if (schema := schema_of(kind)) is not None
    ]
    found: list[dict[str, str]] = []
    for index, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            expression = validation.get(field)
            if not expression:
                continue
            said = [
                f"{kind.api_version}, Kind={kind.kind}: {error}\n"
                for kind, schema, declarations in checks
                if (error := _error(declarations, expression, schema, params))
            ]
            if said:
                place = f"spec.validations[{index}].{field}"
                found.append({"fieldRef": place, "warning": "\n".join(said)})
    return found


def _error(
    declarations: Declarations, expression: str, schema: Schema, params: Schema | None
) -> str:
    types: dict[str, Schema | None] = dict.fromkeys(VARIABLES)
    types |= {"object": schema, "oldObject": schema, "params": params}
    try:
        declarations.check(expression, types)
    except CompileError as error:
        return str(error)
    return ""


def _fields(schema: Schema) -> Mapping[str, Schema] | None:
    properties = schema.get("properties")
    if not properties:
        return None
    return {escaped(name): child for name, child in properties.items()}


def _params(kind: Mapping[str, Any] | None, schema_of: SchemaOf) -> Schema | None:
    if not kind:
        return None
    try:
        group, version = parse_api_version(str(kind.get("apiVersion", "")))
    except ValueError:
        return None
    return schema_of(GroupVersionKind(group, version, str(kind.get("kind", ""))))


def _kinds(spec: Mapping[str, Any], kinds_of: KindsOf) -> Sequence[GroupVersionKind]:
    """What the rules name without wildcards."""
    constraints = spec.get("matchConstraints") or {}
    found: dict[GroupVersionKind, None] = {}
    for rule in constraints.get("resourceRules") or ():
        for kind in _of_rule(rule, kinds_of):
            if len(found) < KINDS_MAX:
                found[kind] = None
    return sorted(found)


def _of_rule(rule: Mapping[str, Any], kinds_of: KindsOf) -> Iterator[GroupVersionKind]:
    groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
    if "*" in groups or "*" in versions:
        return
    for group in sorted(groups):
        for version in sorted(versions):
            for resource in sorted(rule.get("resources") or ()):
                if "*" not in resource and "/" not in resource:
                    yield from kinds_of(group, version, resource)
