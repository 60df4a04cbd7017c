"""What is wrong with a CustomResourceDefinition, in upstream's words and order.

Source: upstream's validation of apiextensions.k8s.io (texts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from apiserver.registry.causes import forbidden, immutable, invalid, required, unsupported
from apiserver.structural.definition import schema_causes
from apiserver.structural.schema import EMPTY, Schema, properties_of
from apiserver.structural.values import too_many
from kubraft.api.conditions import is_true
from kubraft.api.errors import Cause
from kubraft.api.names import dns1035_label_errors, dns1123_subdomain_errors
from kubraft.api.object import Object, annotations_of

APPROVED = "api-approved.kubernetes.io"
SELECTABLE_FIELDS_MAX = 8
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = (
    "int32", "int64", "float", "double", "byte", "date", "date-time", "password",
)  # fmt: skip
_PULL = "see https://github.com/kubernetes/enhancements/pull/1111"
_REVIEW_VERSIONS = ("v1", "v1beta1")

Json = Mapping[str, Any]


def definition_causes(new: Object, old: Object | None) -> list[Cause]:
    """Everything that is wrong with a definition; `old` is what it was, on an update."""
    spec = new["spec"]
    causes = [] if old else list(_name_causes(new))
    causes += _spec_causes(spec)
    if old is not None:
        causes += _update_causes(spec, old)
    causes += _names_causes((new.get("status") or {}).get("acceptedNames") or EMPTY,
                            "status.acceptedNames")  # fmt: skip
    causes += _stored_causes(new)
    causes += _approval_causes(new, old)
    if spec.get("preserveUnknownFields"):
        rule = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        causes.append(invalid("spec.preserveUnknownFields", value=True, detail=rule))
    return causes


def _name_causes(obj: Object) -> Iterator[Cause]:
    name, spec = obj["metadata"].get("name", ""), obj["spec"]
    if name != f"{spec['names'].get('plural', '')}.{spec.get('group', '')}":
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')


def _spec_causes(spec: Json) -> Iterator[Cause]:
    group, scope = spec.get("group", ""), spec.get("scope", "")
    if not group:
        yield required("spec.group")
    elif errors := dns1123_subdomain_errors(group):
        yield invalid("spec.group", group, ",".join(errors))
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    if not scope:
        yield required("spec.scope")
    elif scope not in ("Cluster", "Namespaced"):
        yield unsupported("spec.scope", scope, ("Cluster", "Namespaced"))
    versions = spec.get("versions") or []
    for index, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema")
    for index, version in enumerate(versions):
        yield from _version_causes(version, f"spec.versions[{index}]")
    names = [version.get("name") for version in versions]
    if len(set(names)) < len(names):
        yield invalid("spec.versions", versions, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        rule = "must have exactly one version marked as storage version"
        yield invalid("spec.versions", versions, rule)
    for field in ("plural", "singular", "kind", "listKind"):
        if not spec["names"].get(field):
            yield required(f"spec.names.{field}")
    yield from _names_causes(spec["names"], "spec.names")
    yield from _conversion_causes(spec.get("conversion") or EMPTY)


def _names_causes(names: Json, path: str) -> Iterator[Cause]:
    for field in ("plural", "singular"):
        if (name := names.get(field)) and (errors := dns1035_label_errors(name)):
            yield invalid(f"{path}.{field}", name, ",".join(errors))
    for field in ("kind", "listKind"):
        if (name := names.get(field)) and (errors := dns1035_label_errors(name.lower())):
            rule = "may have mixed case, but should otherwise match: " + ",".join(errors)
            yield invalid(f"{path}.{field}", name, rule)
    yield from _labels(names.get("shortNames"), f"{path}.shortNames")
    if names.get("kind") and names["kind"] == names.get("listKind"):
        rule = "kind and listKind may not be the same"
        yield invalid(f"{path}.listKind", names["listKind"], rule)
    yield from _labels(names.get("categories"), f"{path}.categories")


def _labels(names: Any, path: str) -> Iterator[Cause]:
    for index, name in enumerate(names or ()):
        if errors := dns1035_label_errors(name):
            yield invalid(f"{path}[{index}]", name, ",".join(errors))


def _version_causes(version: Json, path: str) -> Iterator[Cause]:
    name = version.get("name", "")
    if errors := dns1035_label_errors(name):
        yield invalid(f"{path}.name", name, ",".join(errors))
    yield from _warning_causes(version, f"{path}.deprecationWarning")
    subresources = version.get("subresources") or EMPTY
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema:
        place = f"{path}.schema.openAPIV3Schema"
        yield from schema_causes(schema, place, has_status=subresources.get("status") is not None)
    if subresources.get("scale") is not None:
        yield from _scale_causes(subresources["scale"], f"{path}.subresources.scale")
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column_causes(column, f"{path}.additionalPrinterColumns[{index}]")
    if version.get("selectableFields") and schema:
        yield from _selectable_causes(
            version["selectableFields"], schema, f"{path}.selectableFields"
        )


def _warning_causes(version: Json, path: str) -> Iterator[Cause]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        yield invalid(path, warning, "can only be set for deprecated versions")
        return
    if len(warning.encode()) > 256:
        yield invalid(path, warning, "must be <= 256 characters long")
    if not warning:
        yield invalid(path, warning, "must not be an empty string")
    at = next((index for index, sign in enumerate(warning) if not sign.isprintable()), None)
    if at is not None:
        yield invalid(
            path,
            warning,
            "must only contain printable UTF-8 characters; non-printable character found at "
            f"index {at}",
        )


def _scale_causes(scale: Json, path: str) -> Iterator[Cause]:
    for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        text, place = scale.get(field, ""), f"{path}.{field}"
        if not text:
            yield required(place)
        elif cause := _path_cause(text, place):
            yield cause
        elif not text.startswith(root):
            yield invalid(place, text, f"should be a json path under {root[:-1]}")
    if text := scale.get("labelSelectorPath"):
        place = f"{path}.labelSelectorPath"
        if cause := _path_cause(text, place):
            yield cause
        elif not text.startswith((".spec.", ".status.")):
            yield invalid(place, text, "should be a json path under either .spec or .status")


def _path_cause(text: str, path: str) -> Cause | None:
    if text.startswith("."):
        return None
    return invalid(path, text, "must be a simple json path starting with .")


def _column_causes(column: Json, path: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield required(f"{path}.name")
    type_, rule = column.get("type", ""), f"must be one of {','.join(_COLUMN_TYPES)}"
    if not type_:
        yield required(f"{path}.type", rule)
    elif type_ not in _COLUMN_TYPES:
        yield invalid(f"{path}.type", type_, rule)
    format_ = column.get("format", "")
    if format_ and format_ not in _COLUMN_FORMATS:
        rule = f"must be one of {','.join(sorted(_COLUMN_FORMATS))}"
        yield invalid(f"{path}.format", format_, rule)
    text = column.get("jsonPath", "")
    if not text:
        yield required(f"{path}.JSONPath")
    elif cause := _path_cause(text, f"{path}.JSONPath"):
        yield cause


def _selectable_causes(fields: Any, schema: Schema, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, field in enumerate(fields):
        text, place = field.get("jsonPath", ""), f"{path}[{index}].jsonPath"
        if not text:
            yield required(place)
            continue
        names = text.removeprefix(".").split(".")
        found: Schema | None = schema
        for name in names:
            found = properties_of(found).get(name) if found is not None else None
        if not text.startswith(".") or (found is None and names[0] != "metadata"):
            yield invalid(place, text, "is an invalid path: does not refer to a valid field")
            continue
        if names[0] == "metadata":
            yield invalid(place, text, "must not point to fields in metadata")
        if (found or EMPTY).get("type") not in ("string", "boolean", "integer"):
            yield invalid(
                place,
                text,
                "must point to a field of type string, boolean or integer. Enum string fields and "
                "strings with formats are allowed.",
            )
        if text in seen:
            yield Cause("FieldValueDuplicate", f'Duplicate value: "{text}"', place)
        seen.add(text)
    if len(seen) > SELECTABLE_FIELDS_MAX:
        yield too_many(path, len(seen), SELECTABLE_FIELDS_MAX)


def _conversion_causes(conversion: Json) -> Iterator[Cause]:
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook")
    path = "spec.conversion"
    if not strategy:
        yield required(f"{path}.strategy")
    elif strategy not in ("None", "Webhook"):
        yield unsupported(f"{path}.strategy", strategy, ("None", "Webhook"))
    if strategy != "Webhook":
        if webhook is not None:
            rule = "should not be set when strategy is not set to Webhook"
            yield forbidden(f"{path}.webhookClientConfig", rule)
        return
    config = (webhook or EMPTY).get("clientConfig")
    if config is None:
        yield required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")
    elif (config.get("url") is None) == (config.get("service") is None):
        yield required(f"{path}.webhookClientConfig", "exactly one of url or service is required")
    versions = (webhook or EMPTY).get("conversionReviewVersions") or []
    place = f"{path}.conversionReviewVersions"
    if not versions:
        yield required(place)
    elif not set(versions) & set(_REVIEW_VERSIONS):
        rule = f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"
        yield invalid(place, versions, rule)


def _update_causes(spec: Json, old: Object) -> Iterator[Cause]:
    before = old["spec"]
    if is_true(old, "Established"):
        if spec.get("scope") != before.get("scope"):
            yield immutable("spec.scope", spec.get("scope"))
        if spec["names"].get("kind") != before["names"].get("kind"):
            yield immutable("spec.names.kind", spec["names"].get("kind"))
    if spec.get("group") != before.get("group"):
        yield immutable("spec.group", spec.get("group"))
    if spec["names"].get("plural") != before["names"].get("plural"):
        yield immutable("spec.names.plural", spec["names"].get("plural"))


def _stored_causes(obj: Object) -> Iterator[Cause]:
    stored = (obj.get("status") or {}).get("storedVersions") or []
    path = "status.storedVersions"
    if not stored:
        yield invalid(path, stored, "must have at least one stored version")
        return
    versions = {version.get("name") for version in obj["spec"].get("versions") or ()}
    for index, name in enumerate(stored):
        if name not in versions:
            yield invalid(
                f"{path}[{index}]",
                name,
                f"missing from spec.versions; {name} was previously a storage version, and must "
                "remain in spec.versions until a storage migration ensures no data remains "
                f"persisted in {name} and removes {name} from status.storedVersions",
            )


def _approval_causes(new: Object, old: Object | None) -> Iterator[Cause]:
    """The groups of the Kubernetes community want a word of approval."""
    group = new["spec"].get("group", "")
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return
    text = annotations_of(new).get(APPROVED, "")
    if old is not None and _approval(annotations_of(old).get(APPROVED, "")) == _approval(text):
        return
    path = f"metadata.annotations[{APPROVED}]"
    match _approval(text):
        case "missing":
            rule = f'protected groups must have approval annotation "{APPROVED}", {_PULL}'
            yield required(path, rule)
        case "invalid":
            yield invalid(
                path,
                text,
                f'protected groups must have approval annotation "{APPROVED}" with either a URL '
                f'or a reason starting with "unapproved", {_PULL}',
            )


def _approval(text: str) -> str:
    if not text:
        return "missing"
    if text.startswith("unapproved"):
        return "bypassed"
    try:
        parts = urlsplit(text)
    except ValueError:
        return "invalid"
    return "approved" if parts.scheme and parts.netloc else "invalid"
