"""Create: a new object, from what a client sent to what the store keeps.

Order: authorize, decode, default, mutate, default, prepare, validate, admit, write.
"""

from __future__ import annotations

from typing import Any

from apiserver import notes
from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.registry import failures, managed_fields, metadata
from apiserver.registry.call import Call, WriteOptions, Written
from apiserver.registry.field_warnings import field_warnings
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.presentation import stored
from apiserver.storage import codec
from apiserver.storage.entry import Entry
from apiserver.storage.errors import ClaimTakenError, KeyExistsError
from kubraft.api.errors import BadRequestError, Cause, MethodNotAllowedError
from kubraft.api.names import generate_name
from kubraft.api.object import Object

GENERATE_ATTEMPTS_MAX = 8


async def create(
    machinery: Machinery, policy: Policy, call: Call, obj: Object, options: WriteOptions
) -> Written:
    """Store a new object. `obj` is taken over: the caller must not use it again.

    Raises:
        AlreadyExistsError, InvalidError, ForbiddenError, BadRequestError: nothing was written.
    """
    call = placed(call, obj)
    if not options.trusted:
        policy.check(_nameless(call), "create")
    if call.resource.custom and call.resource.custom.terminating:
        raise MethodNotAllowedError(
            "create not allowed while custom resource definition is terminating"
        )
    validation = options.field_validation
    decoded = machinery.decode(call.resource, obj, validation, options.repeated)
    obj, base = decoded.obj, decoded.obj["metadata"].get("generateName", "")
    generated = bool(base) and not obj["metadata"].get("name")
    if generated:
        obj["metadata"]["name"] = generate_name(base, machinery.rng)
    request = _admission_request(call, obj, options)
    obj = await _complete(machinery, policy, request, call, options)
    for attempt in range(1, GENERATE_ATTEMPTS_MAX + 1):
        try:
            entry = await _write(machinery, call, obj, options)
        except KeyExistsError as error:
            name = obj["metadata"]["name"]
            if not generated:
                raise failures.already_exists(call.resource, name) from error
            if attempt == GENERATE_ATTEMPTS_MAX:
                raise failures.generate_name_exhausted(call.resource, name) from error
            obj["metadata"]["name"] = generate_name(base, machinery.rng)
        else:
            return Written(entry, decoded.warnings)
    raise AssertionError("the last attempt returns or raises")


def placed(call: Call, obj: Object) -> Call:
    """The call with the namespace and name of its object, which must not contradict it.

    Raises:
        BadRequestError: they do, or metadata is no object.
    """
    meta = obj.get("metadata")
    if meta is None:
        meta = obj["metadata"] = {}
    if not isinstance(meta, dict):
        raise BadRequestError("metadata must be an object")
    namespace, name = _text(meta, "namespace"), _text(meta, "name")
    if call.resource.namespaced:
        if namespace and call.namespace and namespace != call.namespace:
            raise BadRequestError(
                "the namespace of the provided object does not match the namespace sent on the "
                f"request: {namespace} != {call.namespace}"
            )
        namespace = meta["namespace"] = namespace or call.namespace or "default"
    else:
        namespace = ""
    if call.name and name and name != call.name:
        raise BadRequestError(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )
    if call.name and not name:
        name = meta["name"] = call.name
    return Call(call.user, call.resource, namespace, name, call.subresource)


def validate_new(machinery: Machinery, call: Call, obj: Object) -> None:
    """Raises InvalidError with everything that is wrong with a new object."""
    resource, strategy = call.resource, call.resource.strategy
    causes = metadata.validate(
        obj,
        namespaced=resource.namespaced,
        name_errors=strategy.name_errors,
        any_finalizer=strategy.any_finalizer,
    )
    causes += validate_content(machinery, call, obj, strategy.validate_new(obj))
    if causes:
        raise failures.invalid(resource, obj["metadata"].get("name", ""), causes)


def validate_content(
    machinery: Machinery, call: Call, obj: Object, before: list[Cause]
) -> list[Cause]:
    """Causes by schema and by strategy; of two on one field the strategy's says more."""
    schema = machinery.schema_causes(call.resource, obj)
    if schema and "spec" not in obj and call.resource.strategy.needs_spec:
        return [*before, *schema]
    own = call.resource.strategy.validate(obj)
    return [*before, *merged(schema, own)]


def merged(schema: list[Cause], own: list[Cause]) -> list[Cause]:
    """Causes by schema, without those that a strategy says better, and its own."""
    said = {cause.field for cause in own}
    return [*(cause for cause in schema if cause.field not in said), *own]


def _admission_request(call: Call, obj: Object, options: WriteOptions) -> AdmissionRequest:
    return AdmissionRequest(
        operation=Operation.CREATE,
        user=call.user,
        gvk=call.resource.gvk,
        resource=call.resource.plural,
        subresource=call.subresource,
        namespace=call.namespace,
        name=obj["metadata"].get("name", ""),
        obj=obj,
        dry_run=options.dry_run,
        options=options.as_object("CreateOptions"),
    )


def _nameless(call: Call) -> Call:
    """Authorization of a create does not know the name, as upstream."""
    return Call(call.user, call.resource, call.namespace, "", call.subresource)


async def _complete(
    machinery: Machinery,
    policy: Policy,
    request: AdmissionRequest,
    call: Call,
    options: WriteOptions,
) -> Object:
    """Take the object through defaulting, admission and validation."""
    strategy, obj = call.resource.strategy, request.obj
    assert obj is not None
    metadata.wipe_system_fields(obj["metadata"])
    default(call, obj)
    if not options.managed:
        managed_fields.track_create(machinery, call, obj, options)
    if not options.trusted:
        managed = obj["metadata"].get("managedFields")
        await policy.admission.mutate(request)
        assert request.obj is not None
        obj = request.obj
        default(call, obj)
        managed_fields.keep_sound(obj, managed)
    metadata.tidy(obj["metadata"])
    obj["metadata"]["uid"] = machinery.new_uid()
    obj["metadata"]["creationTimestamp"] = machinery.now()
    strategy.prepare_for_create(obj)
    strategy.note_requester(obj, call.user)
    if strategy.has_generation:
        obj["metadata"]["generation"] = 1
    validate_new(machinery, call, obj)
    if causes := machinery.allocate(call.resource, obj):
        raise failures.invalid(call.resource, obj["metadata"]["name"], causes)
    if not options.trusted:
        for text in field_warnings(call.resource.gvk, obj):
            notes.warn(text)
        await policy.admission.validate(request)
    return obj


def default(call: Call, obj: Object) -> None:
    """Run the strategy's defaulting, which may meet nonsense where required parts are missing.

    Raises:
        BadRequestError: a part that is needed has the wrong type.
    """
    try:
        call.resource.strategy.default(obj)
    except (TypeError, AttributeError, KeyError) as error:
        raise BadRequestError(f"the object cannot be defaulted: {error}") from error


async def _write(machinery: Machinery, call: Call, obj: Object, options: WriteOptions) -> Entry:
    strategy = call.resource.strategy
    key = call.resource.key(call.namespace, obj["metadata"]["name"])
    value = codec.encode(await stored(call.resource, obj))
    if options.dry_run:
        if await machinery.reads.get(call.resource.prefix, key) is not None:
            raise KeyExistsError(key)
        return Entry(key, 0, value)
    try:
        revision = await machinery.store.create(
            key, value, claims=strategy.claims(obj), ttl_s=strategy.ttl_s
        )
    except ClaimTakenError as error:
        cause = machinery.services.claim_cause(error.key, obj)
        raise failures.invalid(call.resource, obj["metadata"]["name"], [cause]) from error
    return Entry.stored(key, revision, value)


def _text(meta: dict[str, Any], field: str) -> str:
    value = meta.get(field) or ""
    if not isinstance(value, str):
        raise BadRequestError(f"metadata.{field} must be a string")
    return value
