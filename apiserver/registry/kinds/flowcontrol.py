"""FlowSchemas and PriorityLevelConfigurations.

Source: Kubernetes API reference, flowcontrol.apiserver.k8s.io/v1; texts of upstream's validation.
"""

from __future__ import annotations

from typing import Any, Final

from apiserver.registry.causes import all_invalid, forbidden, invalid, required, unsupported
from apiserver.registry.columns import AGE, NAME, cell, columns, number
from apiserver.registry.paths import Place, at
from apiserver.registry.resource import Resource
from apiserver.registry.rules import RuleStrategy, between, fill, named, needed, one_of
from kubraft.api.conditions import is_true
from kubraft.api.errors import Cause
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.names import dns1123_label_errors, dns1123_subdomain_errors
from kubraft.api.object import Object

_GROUP = ("flowcontrol.apiserver.k8s.io", "v1")
FLOW_SCHEMA = GroupVersionKind(*_GROUP, "FlowSchema")
PRIORITY_LEVEL = GroupVersionKind(*_GROUP, "PriorityLevelConfiguration")

EXEMPT: Final = "exempt"
_PRECEDENCE_MAX: Final = 10_000
_QUEUES_MAX: Final = 10_000_000
_VERBS: Final = (
    *("create", "delete", "deletecollection", "get", "list", "patch"),
    *("proxy", "update", "watch"),
)
_SUBJECTS: Final = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}
_NAMESPACE_TEXT: Final = "each member of this list must be '*' or a DNS-1123 label; "


def _precedence(place: Place) -> list[Cause]:
    obj = place.value
    value, field = at(obj, "spec.matchingPrecedence"), "spec.matchingPrecedence"
    if not isinstance(value, int):
        return []
    if value <= 0:
        return [invalid(field, value, "must be a positive value")]
    if value > _PRECEDENCE_MAX:
        return [invalid(field, value, f"must not be greater than {_PRECEDENCE_MAX}")]
    if value == 1 and obj["metadata"].get("name") != EXEMPT:
        text = "only the schema named 'exempt' may have matchingPrecedence 1"
        return [invalid(field, value, text)]
    return []


def _rule(place: Place) -> list[Cause]:
    rule, field = place.value, place.field
    causes: list[Cause] = []
    if not rule.get("subjects"):
        text = "subjects must contain at least one value"
        causes.append(required(f"{field}.subjects", text))
    if not rule.get("resourceRules") and not rule.get("nonResourceRules"):
        text = "at least one of resourceRules and nonResourceRules has to be non-empty"
        causes.append(required(field, text))
    return causes


def _subject(place: Place) -> list[Cause]:
    subject, field = place.value, place.field
    kind = subject.get("kind", "")
    own = _SUBJECTS.get(kind)
    if own is None:
        return [unsupported(f"{field}.kind", kind, _SUBJECTS)]
    causes: list[Cause] = []
    given = subject.get(own)
    if given is None:
        text = f"{own} is required when subject kind is '{kind}'"
        causes.append(required(f"{field}.{own}", text))
    elif not given.get("name"):
        causes.append(required(f"{field}.{own}.name"))
    elif own == "serviceAccount" and not given.get("namespace"):
        text = "must specify namespace for service account"
        causes.append(required(f"{field}.{own}.namespace", text))
    for other, name in _SUBJECTS.items():
        if name != own and subject.get(name) is not None:
            text = f"{name} is forbidden when subject kind is not '{other}'"
            causes.append(forbidden(f"{field}.{name}", text))
    return causes


def _words(rule: Object, field: str, name: str, missing: str, others: str) -> list[Cause]:
    found = rule.get(name) or []
    if not found:
        return [required(f"{field}.{name}", missing)]
    if "*" in found and len(found) > 1:
        text = f"if '*' is present, must not specify other {others}"
        return [invalid(f"{field}.{name}", found, text)]
    return []


def _verbs(rule: Object, field: str) -> list[Cause]:
    verbs = rule.get("verbs") or []
    causes = _words(rule, field, "verbs", "verbs must contain at least one value", "verbs")
    if not causes and "*" not in verbs and not set(verbs) <= set(_VERBS):
        causes.append(unsupported(f"{field}.verbs", verbs, _VERBS))
    return causes


def _resource_rule(place: Place) -> list[Cause]:
    rule, field = place.value, place.field
    text = "resource rules must supply at least one"
    causes = _verbs(rule, field)
    causes += _words(rule, field, "apiGroups", f"{text} api group", "api groups")
    causes += _words(rule, field, "resources", f"{text} resource", "resources")
    namespaces = rule.get("namespaces") or []
    if not namespaces and not rule.get("clusterScope"):
        missing = "resource rules that are not cluster scoped must supply at least one namespace"
        causes.append(required(f"{field}.namespaces", missing))
    elif "*" in namespaces:
        causes += _words(rule, field, "namespaces", "", "namespaces")
    else:
        for index, name in enumerate(namespaces):
            details = [_NAMESPACE_TEXT + error for error in dns1123_label_errors(name)]
            causes += all_invalid(f"{field}.namespaces[{index}]", name, details)
    return causes


def _url_rule(place: Place) -> list[Cause]:
    rule, field = place.value, place.field
    text = "nonResourceURLs must contain at least one value"
    causes = _verbs(rule, field)
    causes += _words(rule, field, "nonResourceURLs", text, "non-resource URLs")
    for index, url in enumerate(rule.get("nonResourceURLs") or ()):
        if url != "*" and (why := _url_error(url)):
            causes.append(invalid(f"{field}.nonResourceURLs[{index}]", url, why))
    return causes


def _url_error(url: str) -> str:
    if not url:
        return "must not be empty"
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    if "*" in url.removesuffix("/*"):
        return "wildcard can only do suffix matching"
    return ""


def _level(place: Place) -> list[Cause]:
    obj = place.value
    spec, kind = obj.get("spec") or {}, at(obj, "spec.type")
    causes: list[Cause] = []
    if (obj["metadata"].get("name") == EXEMPT) != (kind == "Exempt"):
        text = "type must be 'Exempt' if and only if name is 'exempt'"
        causes.append(invalid("spec.type", kind or "", text))
    if kind == "Exempt" and spec.get("limited") is not None:
        causes.append(forbidden("spec.limited", "must be nil if the type is not Limited"))
    elif kind == "Limited":
        if spec.get("exempt") is not None:
            causes.append(forbidden("spec.exempt", "must be nil if the type is Limited"))
        if spec.get("limited") is None:
            causes.append(required("spec.limited", "must not be empty when type is Limited"))
        else:
            causes += _response(spec["limited"].get("limitResponse") or {})
    return causes


def _response(response: Object) -> list[Cause]:
    field, queuing = "spec.limited.limitResponse", response.get("queuing")
    match response.get("type"):
        case "Reject":
            if queuing is None:
                return []
            text = "must be nil if limited.limitResponse.type is not Limited"
            return [forbidden(f"{field}.queuing", text)]
        case "Queue":
            if queuing is not None:
                return _queuing(queuing, f"{field}.queuing")
            text = "must not be empty if limited.limitResponse.type is Limited"
            return [required(f"{field}.queuing", text)]
    return [unsupported(f"{field}.type", response.get("type", ""), ("Queue", "Reject"))]


def _queuing(queuing: Object, field: str) -> list[Cause]:
    causes = [
        invalid(f"{field}.{name}", queuing[name], "must be positive")
        for name in ("queueLengthLimit", "queues", "handSize")
        if queuing.get(name, 1) <= 0
    ]
    queues, hand = queuing.get("queues", 0), queuing.get("handSize", 0)
    if queues > _QUEUES_MAX:
        text = f"must not be greater than {_QUEUES_MAX}"
        causes.append(invalid(f"{field}.queues", queues, text))
    if 0 < queues < hand:
        text = f"should not be greater than queues ({queues})"
        causes.append(invalid(f"{field}.handSize", hand, text))
    return causes


def _default_level(obj: Object) -> None:
    kind = at(obj, "spec.type")
    if kind == "Exempt":
        fill(obj, "spec.exempt", {})
        fill(obj, "spec.exempt.nominalConcurrencyShares", 0)
        fill(obj, "spec.exempt.lendablePercent", 0)
    fill(obj, "spec.limited.nominalConcurrencyShares", 30)
    fill(obj, "spec.limited.lendablePercent", 0)
    if at(obj, "spec.limited.limitResponse.type") == "Queue":
        fill(obj, "spec.limited.limitResponse.queuing", {})
        for name, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
            fill(obj, f"spec.limited.limitResponse.queuing.{name}", value)


def _missing_level(obj: Object) -> str:
    conditions = at(obj, "status.conditions") or ()
    if not any(condition.get("type") == "Dangling" for condition in conditions):
        return "?"
    return str(is_true(obj, "Dangling"))


def _shares(obj: Object) -> Any:
    found = at(obj, "spec.limited.nominalConcurrencyShares")
    return at(obj, "spec.exempt.nominalConcurrencyShares") if found is None else found


def _queue_cell(name: str, field: str) -> Any:
    return cell(name, f"spec.limited.limitResponse.queuing.{field}", none="<none>")


ROWS = (
    Resource(
        FLOW_SCHEMA,
        "flowschemas",
        RuleStrategy(
            defaults={"spec.matchingPrecedence": 1000},
            checks=(
                ("", _precedence),
                ("spec.distinguisherMethod.type", one_of("ByNamespace", "ByUser")),
                (
                    "spec.priorityLevelConfiguration.name",
                    needed("must reference a priority level"),
                    named(dns1123_subdomain_errors),
                ),
                ("spec.rules[]", _rule),
                ("spec.rules[].subjects[]", _subject),
                ("spec.rules[].resourceRules[]", _resource_rule),
                ("spec.rules[].nonResourceRules[]", _url_rule),
            ),
            generation=True,
            status={},
        ),
        columns(
            NAME,
            cell("PriorityLevel", "spec.priorityLevelConfiguration.name"),
            number("MatchingPrecedence", "spec.matchingPrecedence"),
            cell("DistinguisherMethod", "spec.distinguisherMethod.type", none="<none>"),
            AGE,
            cell("MissingPL", _missing_level),
        ),
        namespaced=False,
        subresources=("status",),
    ),
    Resource(
        PRIORITY_LEVEL,
        "prioritylevelconfigurations",
        RuleStrategy(
            default=_default_level,
            checks=(
                ("spec.type", needed(), one_of("Exempt", "Limited")),
                ("", _level),
                (
                    "spec.limited.nominalConcurrencyShares",
                    between(0, 2**31 - 1, "must be a non-negative integer"),
                ),
                ("spec.limited.lendablePercent", between(0, 100)),
            ),
            generation=True,
            status={},
        ),
        columns(
            NAME,
            cell("Type", "spec.type"),
            cell("NominalConcurrencyShares", _shares, none="<none>"),
            _queue_cell("Queues", "queues"),
            _queue_cell("HandSize", "handSize"),
            _queue_cell("QueueLengthLimit", "queueLengthLimit"),
            AGE,
        ),
        namespaced=False,
        subresources=("status",),
    ),
)
