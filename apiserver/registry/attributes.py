"""What selectors see of an object, and the predicate that a request's selectors make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from apiserver.registry.resource import Resource
from apiserver.storage.entry import Entry
from apiserver.storage.resource_cache import Predicate
from kubraft.api.errors import BadRequestError
from kubraft.api.fields import FieldSelector, field_value, parse_field_selector
from kubraft.api.labels import LabelSelector, parse_selector
from kubraft.api.object import Object

_ALWAYS = ("metadata.name", "metadata.namespace")
# What numbers and switches of built-in kinds are where they are absent.
_ZEROES = (
    ("spec.hostNetwork", "false"),
    ("status.replicas", "0"),
    ("status.successful", "0"),
)


class Attributes(NamedTuple):
    """Labels, and the selectable fields by path."""

    labels: Mapping[str, str]
    fields: Mapping[str, str]


class Selection(NamedTuple):
    """The objects of a resource that a request wants."""

    labels: LabelSelector
    fields: FieldSelector
    predicate: Predicate | None

    @property
    def name(self) -> str | None:
        """The one name that is wanted, if the fields say so."""
        return self.fields.required("metadata.name")


def extract(resource: Resource, obj: Object) -> Attributes:
    """The attributes of one object, in the form that the store has."""
    paths = resource.conversion.fields if resource.conversion else {}
    wanted = (*_ALWAYS, *resource.selectable_fields)
    fields = {path: field_value(obj, paths.get(path, path)) for path in wanted}
    if resource.custom is None:
        if "status.successful" in fields:
            fields["status.successful"] = field_value(obj, "status.succeeded")
        fields |= {path: zero for path, zero in _ZEROES if fields.get(path) == ""}
    return Attributes(obj["metadata"].get("labels") or {}, fields)


def select(resource: Resource, label_selector: str, field_selector: str) -> Selection:
    """Read a request's selectors.

    Raises:
        BadRequestError: one is malformed, or names a field that cannot be selected by.
    """
    try:
        labels = parse_selector(label_selector)
    except ValueError as error:
        raise BadRequestError(f"unable to parse label selector: {error}") from error
    try:
        fields = parse_field_selector(field_selector)
    except ValueError as error:
        raise BadRequestError(f"unable to parse field selector: {error}") from error
    for term in fields.terms:
        if term.field not in _ALWAYS and term.field not in resource.selectable_fields:
            raise BadRequestError(f'field label not supported: "{term.field}"')
    return Selection(labels, fields, _predicate(resource, labels, fields))


def _predicate(
    resource: Resource, labels: LabelSelector, fields: FieldSelector
) -> Predicate | None:
    if not labels and not fields:
        return None

    def of(obj: Object) -> Attributes:
        return extract(resource, obj)

    def matches(entry: Entry) -> bool:
        # Custom kinds change what can be selected by, and each version has its own.
        attributes: Attributes = of(entry.view()) if resource.form else entry.attributes(of)
        return labels.matches(attributes.labels) and fields.matches(attributes.fields.__getitem__)

    return matches
