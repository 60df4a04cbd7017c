"""Rules on where a Pod may be placed: affinity, spreading, gates.

Source: Kubernetes API reference, core/v1 Affinity, TopologySpreadConstraint; upstream's texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apiserver.registry.causes import (
    all_invalid,
    duplicate,
    forbidden,
    invalid,
    required,
    unsupported,
)
from apiserver.registry.paths import Place
from apiserver.registry.rules import label_selector
from kubraft.api.errors import Cause
from kubraft.api.names import (
    dns1123_label_errors,
    dns1123_subdomain_errors,
    qualified_name_errors,
)

Json = dict[str, Any]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = "must be in the range 1-100"
_OPERATOR = "not a valid selector operator"
_SOME = "must be specified when `operator` is 'In' or 'NotIn'"
_NONE = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
_ONE = "must be specified single value when `operator` is 'Lt' or 'Gt'"
_ONE_NAME = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
_POLICIES = ("Honor", "Ignore")
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")


def placement_causes(spec: Json, field: str) -> list[Cause]:
    """What is wrong with a Pod's affinity, spreading and gates; `field` is the path of its spec."""
    causes = list(_affinity(spec.get("affinity") or {}, f"{field}.affinity"))
    causes += _spreads(spec.get("topologySpreadConstraints") or (), field)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        kind = gate.get("conditionType", "")
        at = f"{field}.readinessGates[{index}].conditionType"
        causes += all_invalid(at, kind, qualified_name_errors(kind))
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        name, at = gate.get("name", ""), f"{field}.schedulingGates[{index}]"
        causes += all_invalid(f"{at}.name", name, qualified_name_errors(name))
        if name in seen:
            causes.append(duplicate(at, name))
        seen.add(name)
    return causes


def _affinity(affinity: Json, field: str) -> Iterator[Cause]:
    of_nodes, path = affinity.get("nodeAffinity") or {}, f"{field}.nodeAffinity"
    if (selector := of_nodes.get(_REQUIRED)) is not None:
        terms, at = selector.get("nodeSelectorTerms") or (), f"{path}.{_REQUIRED}"
        if not terms:
            yield required(f"{at}.nodeSelectorTerms", "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from node_term(term, f"{at}.nodeSelectorTerms[{index}]")
    for index, each in enumerate(of_nodes.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        yield from _weight(each, at)
        yield from node_term(each.get("preference") or {}, f"{at}.preference")
    for name in ("podAffinity", "podAntiAffinity"):
        of_pods, path = affinity.get(name) or {}, f"{field}.{name}"
        for index, term in enumerate(of_pods.get(_REQUIRED) or ()):
            yield from _pod_term(term, f"{path}.{_REQUIRED}[{index}]")
        for index, each in enumerate(of_pods.get(_PREFERRED) or ()):
            at = f"{path}.{_PREFERRED}[{index}]"
            yield from _weight(each, at)
            yield from _pod_term(each.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")


def _weight(each: Json, field: str) -> Iterator[Cause]:
    weight = each.get("weight", 0)
    if not 1 <= weight <= 100:
        yield invalid(f"{field}.weight", weight, _WEIGHT)


def node_term(term: Json, field: str) -> Iterator[Cause]:
    """What is wrong with one term of a selector of nodes."""
    for index, each in enumerate(term.get("matchExpressions") or ()):
        at = f"{field}.matchExpressions[{index}]"
        operator, values = each.get("operator", ""), each.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{at}.values", _SOME)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield forbidden(f"{at}.values", _NONE)
        elif operator in ("Gt", "Lt"):
            if len(values) != 1:
                yield required(f"{at}.values", _ONE)
        else:
            yield invalid(f"{at}.operator", operator, _OPERATOR)
        key = each.get("key", "")
        yield from all_invalid(f"{at}.key", key, qualified_name_errors(key))
    for index, each in enumerate(term.get("matchFields") or ()):
        yield from _field_term(each, f"{field}.matchFields[{index}]")


def _field_term(each: Json, field: str) -> Iterator[Cause]:
    key, values = each.get("key", ""), each.get("values") or ()
    if each.get("operator") not in ("In", "NotIn"):
        yield invalid(f"{field}.operator", each.get("operator", ""), _OPERATOR)
    elif len(values) != 1:
        yield required(f"{field}.values", _ONE_NAME)
    if key != "metadata.name":
        yield invalid(f"{field}.key", key, "not a valid field selector key")
        return
    for index, value in enumerate(values):
        yield from all_invalid(f"{field}.values[{index}]", value, dns1123_subdomain_errors(value))


def _pod_term(term: Json, field: str) -> Iterator[Cause]:
    for name in ("labelSelector", "namespaceSelector"):
        yield from label_selector(Place(f"{field}.{name}", term.get(name), term, name))
    for name in term.get("namespaces") or ():
        yield from all_invalid(f"{field}.namespace", name, dns1123_label_errors(name))
    key = term.get("topologyKey", "")
    if not key:
        yield required(f"{field}.topologyKey", "can not be empty")
    else:
        yield from all_invalid(f"{field}.topologyKey", key, qualified_name_errors(key))


def _spreads(spreads: Any, field: str) -> Iterator[Cause]:
    pairs = [(s.get("topologyKey", ""), s.get("whenUnsatisfiable", "")) for s in spreads]
    for index, spread in enumerate(spreads):
        path = f"{field}.topologySpreadConstraints[{index}]"
        yield from _spread(spread, path)
        for key, when in pairs[index + 1 :]:
            if (key, when) == pairs[index]:
                yield duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {when}}}")


def _spread(spread: Json, path: str) -> Iterator[Cause]:
    skew, key = spread.get("maxSkew", 0), spread.get("topologyKey", "")
    if skew <= 0:
        yield invalid(f"{path}.maxSkew", skew, "must be greater than zero")
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from all_invalid(f"{path}.topologyKey", key, qualified_name_errors(key))
    when = spread.get("whenUnsatisfiable", "")
    if when not in _UNSATISFIABLE:
        yield unsupported(f"{path}.whenUnsatisfiable", when, _UNSATISFIABLE)
    domains = spread.get("minDomains")
    if domains is not None and domains <= 0:
        yield invalid(f"{path}.minDomains", domains, "must be greater than zero")
    if domains is not None and when == "ScheduleAnyway":
        rule = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}"
        yield invalid(f"{path}.minDomains", domains, rule)
    for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if spread.get(name) not in (None, *_POLICIES):
            yield unsupported(f"{path}.{name}", spread[name], _POLICIES)
    selector = spread.get("labelSelector")
    yield from label_selector(Place(f"{path}.labelSelector", selector, spread, "labelSelector"))
    if spread.get("matchLabelKeys") and selector is None:
        rule = "must not be specified when labelSelector is not set"
        yield forbidden(f"{path}.matchLabelKeys", rule)
