"""The options of a verb, from the query and, for deletes, from the body. Pure.

Source: Kubernetes API reference, meta/v1 ListOptions, CreateOptions, PatchOptions, DeleteOptions.
"""

from __future__ import annotations

from typing import Any

from apiserver.registry.call import DeleteOptions, WriteOptions
from apiserver.registry.causes import shown
from apiserver.registry.registry import ListQuery, WatchQuery
from apiserver.rest.request_info import Query, is_set
from apiserver.schema.schemas import FieldValidation
from kubraft.api.errors import BadRequestError, Cause, InvalidError

MANAGER_BYTES_MAX = 128
_INT64_MAX = 2**63 - 1
_REASONS = {
    "Forbidden": "FieldValueForbidden",
    "Unsupported value": "FieldValueNotSupported",
    "Required value": "FieldValueRequired",
    "Too long": "FieldValueTooLong",
}


def first(query: Query, name: str) -> str:
    """The first value of a parameter; "" where it is absent."""
    values = query.get(name)
    return values[0] if values else ""


def number(query: Query, name: str) -> int | None:
    """A parameter as an integer; None where it is absent or empty.

    Raises:
        BadRequestError: it is none.
    """
    text = first(query, name)
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not digits.isascii() or not digits.isdigit():
        raise BadRequestError(f'strconv.ParseInt: parsing "{text[:64]}": invalid syntax')
    if len(digits) > 19 or abs(int(text)) > _INT64_MAX:
        raise BadRequestError(f'strconv.ParseInt: parsing "{text[:64]}": value out of range')
    return int(text)


def list_query(query: Query) -> ListQuery:
    """What a list wants."""
    version, match = first(query, "resourceVersion"), first(query, "resourceVersionMatch")
    if match:
        _check_match(version, match, first(query, "continue"))
    if is_set(query, "sendInitialEvents"):
        raise _invalid_list(
            "sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list"
        )
    return ListQuery(
        label_selector=first(query, "labelSelector"),
        field_selector=first(query, "fieldSelector"),
        limit=number(query, "limit") or 0,
        continue_token=first(query, "continue"),
        resource_version=version,
        resource_version_match=match,
    )


def watch_query(query: Query, name: str = "") -> WatchQuery:
    """What a watch wants; `name` is that of the one object of a legacy watch path."""
    fields, match = first(query, "fieldSelector"), first(query, "resourceVersionMatch")
    initial = "sendInitialEvents" in query
    if match and not initial:
        raise _invalid_list(
            "resourceVersionMatch",
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
            "provided",
        )
    if initial and match != "NotOlderThan":
        raise _invalid_list(
            "resourceVersionMatch",
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )
    if name:
        fields = f"{fields},metadata.name={name}" if fields else f"metadata.name={name}"
    return WatchQuery(
        label_selector=first(query, "labelSelector"),
        field_selector=fields,
        resource_version=first(query, "resourceVersion"),
        bookmarks=is_set(query, "allowWatchBookmarks"),
        initial_events=is_set(query, "sendInitialEvents"),
    )


def write_options(query: Query, kind: str, user_agent: str) -> WriteOptions:
    """How to write; `kind` is CreateOptions, UpdateOptions or PatchOptions.

    Raises:
        InvalidError: an option has a value that it cannot have.
    """
    mode = first(query, "fieldValidation") or FieldValidation.WARN.value
    try:
        validation = FieldValidation(mode)
    except ValueError as error:
        choices = '"", "Ignore", "Strict", "Warn"'
        raise _invalid(kind, "fieldValidation", _unsupported(mode, choices)) from error
    manager = first(query, "fieldManager")
    if len(manager.encode()) > MANAGER_BYTES_MAX:
        raise _invalid(
            kind, "fieldManager", f"Too long: may not be more than {MANAGER_BYTES_MAX} bytes"
        )
    for at, sign in enumerate(manager):
        if not sign.isprintable():
            name = f"U+{ord(sign):04X}"
            raise _invalid(
                kind,
                "fieldManager",
                f"Invalid value: {shown(manager)}: invalid character {name} (at position {at})",
            )
    return WriteOptions(
        dry_run=_dry_run(query.get("dryRun", ()), kind),
        field_manager=manager or program_of(user_agent),
        field_validation=validation,
    )


def is_forced(query: Query, *, applying: bool) -> bool:
    """Whether a patch takes fields from others; checks what applies, and only they, must say.

    Raises:
        InvalidError: an apply without fieldManager, or another patch with force.
    """
    manager = first(query, "fieldManager")
    if applying and not manager:
        why = "Required value: is required for apply patch"
        raise _invalid("PatchOptions", "fieldManager", why)
    if "force" in query and not applying:
        raise _invalid(
            "PatchOptions", "force", "Forbidden: may not be specified for non-apply patch"
        )
    return is_set(query, "force")


def program_of(user_agent: str) -> str:
    """Who writes where nobody says: the first word of the User-Agent."""
    word = "".join(sign for sign in user_agent.partition("/")[0] if sign.isprintable())
    return word.encode()[:MANAGER_BYTES_MAX].decode(errors="ignore")


def delete_options(query: Query, body: dict[str, Any] | None) -> DeleteOptions:
    """How to delete. What the body says comes before the query, as upstream.

    Raises:
        BadRequestError: an option has the wrong type.
        InvalidError: an option has a value that it cannot have.
    """
    if body is None:
        return DeleteOptions(
            grace_period_s=number(query, "gracePeriodSeconds"),
            propagation=_propagation(
                first(query, "propagationPolicy"),
                is_set(query, "orphanDependents") if "orphanDependents" in query else None,
            ),
            dry_run=_dry_run(query.get("dryRun", ()), "DeleteOptions"),
        )
    grace = body.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        raise _wrong_type("gracePeriodSeconds")
    preconditions = body.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        raise _wrong_type("preconditions")
    orphan = body.get("orphanDependents")
    if orphan is not None and not isinstance(orphan, bool):
        raise _wrong_type("orphanDependents")
    dry_run = body.get("dryRun") or []
    if not isinstance(dry_run, list):
        raise _wrong_type("dryRun")
    return DeleteOptions(
        grace_period_s=grace,
        propagation=_propagation(_text(body, "propagationPolicy"), orphan),
        uid=_text(preconditions, "uid"),
        resource_version=_text(preconditions, "resourceVersion"),
        dry_run=_dry_run([*dry_run, *query.get("dryRun", ())], "DeleteOptions"),
    )


def _propagation(policy: str, orphan: bool | None) -> str:  # noqa: FBT001 - as it is sent
    if orphan is None:
        return policy
    if policy:
        raise _invalid(
            "DeleteOptions",
            "propagationPolicy",
            f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both '
            "set",
        )
    return "Orphan" if orphan else "Background"


def _dry_run(values: Any, kind: str) -> bool:
    for value in values:
        if value != "All":
            raise _invalid(kind, "dryRun", _unsupported(str(value), '"All"'))
    return bool(values)


def _check_match(version: str, match: str, continuing: str) -> None:
    """Source: apimachinery meta/internalversion/validation."""
    field = "resourceVersionMatch"
    if not version:
        raise _invalid_list(
            field,
            "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        )
    if continuing:
        raise _invalid_list(
            field, "Forbidden: resourceVersionMatch is forbidden when continue is provided"
        )
    if match not in ("Exact", "NotOlderThan"):
        raise _invalid_list(field, _unsupported(match, '"Exact", "NotOlderThan"'))
    if match == "Exact" and version == "0":
        raise _invalid_list(
            field,
            'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        )


def _unsupported(value: str, choices: str) -> str:
    return f'Unsupported value: "{value[:64]}": supported values: {choices}'


def _invalid_list(field: str, message: str) -> InvalidError:
    return _invalid("ListOptions", field, message)


def _invalid(kind: str, field: str, message: str) -> InvalidError:
    reason = _REASONS.get(message.partition(":")[0], "FieldValueInvalid")
    cause = Cause(reason, message, field)
    return InvalidError(
        f'{kind}.meta.k8s.io "" is invalid: {cause}',
        group="meta.k8s.io",
        kind=kind,
        causes=[cause],
    )


def _text(obj: dict[str, Any], field: str) -> str:
    value = obj.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong_type(field)
    return value


def _wrong_type(field: str) -> BadRequestError:
    return BadRequestError(f"DeleteOptions.{field} has the wrong type")
