"""Update and patch: read, change, compare-and-swap, again where somebody else was faster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from apiserver import notes
from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.registry import failures, managed_fields, metadata
from apiserver.registry.call import Call, WriteOptions, Written
from apiserver.registry.create import create, default, merged, placed, validate_content
from apiserver.registry.field_warnings import field_warnings
from apiserver.registry.machinery import Machinery, claims_things
from apiserver.registry.policy import Policy
from apiserver.registry.presentation import is_current, presented, stored
from apiserver.storage import codec
from apiserver.storage.entry import Entry
from apiserver.storage.errors import ClaimTakenError, RevisionMismatchError
from kubraft.api.errors import Cause, NotFoundError
from kubraft.api.gvk import POD, GroupVersionKind
from kubraft.api.object import Object

ATTEMPTS_MAX = 32

# Makes the wanted object from the stored one, which it may change; called once an attempt.
Change = Callable[[Object], Object]


class View(Protocol):
    """What admission sees of an object that is written by a part of it of another kind."""

    @property
    def gvk(self) -> GroupVersionKind: ...

    @property
    def subresource(self) -> str: ...

    def show(self, obj: Object) -> Object:
        """An object of `gvk`, which admission may change."""
        ...

    def take(self, obj: Object, shown: Object) -> Object:
        """`obj` with what admission made of what it was shown."""
        ...


class _Attempt(NamedTuple):
    new: Object
    old: Object
    warnings: tuple[str, ...]


async def update(
    machinery: Machinery, policy: Policy, call: Call, obj: Object, options: WriteOptions
) -> Written:
    """Replace an object by `obj`, at its resourceVersion where it has one.

    Some kinds are created so where they do not exist, by who may do that too.

    Raises:
        NotFoundError, ConflictError, InvalidError, ForbiddenError, BadRequestError: unchanged.
    """
    call = placed(call, obj)
    if not options.trusted:
        policy.check(call, "update")
    body = codec.json_copy(obj)

    def replacement(_: Object) -> Object:
        return codec.decode(body)

    try:
        return await guaranteed_update(machinery, policy, call, replacement, options)
    except NotFoundError:
        if call.subresource or not call.resource.strategy.create_on_update:
            raise
    written = await create(machinery, policy, call, codec.decode(body), options)
    return written._replace(created=True)


async def patch(
    machinery: Machinery, policy: Policy, call: Call, change: Change, options: WriteOptions
) -> Written:
    """Replace an object by what `change` makes of it; raises as `update` and `change` do."""
    if not options.trusted:
        policy.check(call, "patch")
    return await guaranteed_update(machinery, policy, call, change, options)


async def guaranteed_update(
    machinery: Machinery,
    policy: Policy,
    call: Call,
    change: Change,
    options: WriteOptions,
    *,
    stale_ok: bool = True,
    view: View | None = None,
) -> Written:
    """As `patch`, where it is known already that the caller may.

    Args:
        stale_ok: begin with what the cache has; what is found to be old is read anew.
        view: what admission sees in place of the object.
    """
    entry = await _cached(machinery, call) if stale_ok else None
    fresh = False
    for _ in range(ATTEMPTS_MAX):
        if entry is None and not fresh:
            entry, fresh = await machinery.find(call.key), True
        if entry is None:
            raise failures.not_found(call.resource, call.name)
        try:
            attempt = await _attempt(
                machinery, policy, call, entry, change=change, options=options, view=view
            )
            return await _write(machinery, call, entry, attempt, options)
        except (_StaleError, RevisionMismatchError) as error:
            if fresh and isinstance(error, _StaleError):
                raise failures.conflict(call.resource, call.name, error.cause) from error
            if isinstance(error, RevisionMismatchError) and error.current is not None:
                kv = error.current
                entry, fresh = Entry.stored(kv.key, kv.mod_revision, kv.value), True
            else:
                entry, fresh = await machinery.find(call.key), True
    raise failures.conflict(call.resource, call.name)


class _StaleError(Exception):
    """The object at hand is not the one that the request wants; a cached one may be old."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


async def _cached(machinery: Machinery, call: Call) -> Entry | None:
    return await machinery.reads.get(call.resource.prefix, call.key, resource_version=0)


async def _attempt(
    machinery: Machinery,
    policy: Policy,
    call: Call,
    entry: Entry,
    *,
    change: Change,
    options: WriteOptions,
    view: View | None,
) -> _Attempt:
    """Compute the new object from the one at hand; writes nothing."""
    resource, strategy = call.resource, call.resource.strategy
    shown = await presented(resource, entry)
    old = shown.decode()
    validation = options.field_validation
    decoded = machinery.decode(resource, change(shown.decode()), validation, options.repeated)
    new = decoded.obj
    _check_identity(new, old)
    metadata.keep_system_fields(new["metadata"], old["metadata"])
    prepare = _preparation(machinery, call)
    if call.subresource != "status":
        default(call, new)
    if not options.managed:
        managed_fields.track_update(machinery, call, new, old, options)
    managed = new["metadata"].get("managedFields")
    request = _admission_request(call, new, old, options, view)
    if not options.trusted:
        await policy.admission.mutate(request)
        assert request.obj is not None
        new = view.take(new, request.obj) if view else request.obj
        if call.subresource != "status":
            default(call, new)
        managed_fields.keep_sound(new, managed)
    prepare(new, old)
    metadata.tidy(new["metadata"])
    _set_generation(strategy.has_generation, new, old, call)
    _validate(machinery, call, new, old)
    if not options.trusted:
        if call.resource.gvk != POD and _counted(new, old):
            for text in field_warnings(call.resource.gvk, new):
                notes.warn(text)
        request.obj = view.show(new) if view else new
        await policy.admission.validate(request)
    return _Attempt(new, old, decoded.warnings)


def _counted(new: Object, old: Object) -> bool:
    """Whether an update has changed what an object asks for."""
    return bool(new["metadata"].get("generation") != old["metadata"].get("generation"))


def _preparation(machinery: Machinery, call: Call) -> Callable[[Object, Object], None]:
    strategy, part = call.resource.strategy, call.subresource
    if part in strategy.parts:
        return partial(strategy.prepare_for_part, part)
    return {
        "": strategy.prepare_for_update,
        "status": strategy.prepare_for_status_update,
        "finalize": _prepare_finalize,
        "approval": lambda new, old: strategy.prepare_for_approval(new, old, machinery.now()),
        "binding": _keep_all,
    }[part]


def _check_identity(new: Object, old: Object) -> None:
    after, before = new["metadata"], old["metadata"]
    if (uid := after.get("uid")) and uid != before["uid"]:
        raise _StaleError(
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {before['uid']}"
        )
    if (wanted := after.get("resourceVersion")) and wanted != before["resourceVersion"]:
        raise _StaleError(failures.MODIFIED)


def _set_generation(counts: bool, new: Object, old: Object, call: Call) -> None:  # noqa: FBT001
    generation, strategy = old["metadata"].get("generation", 0), call.resource.strategy
    of_spec = call.subresource in ("", *strategy.parts)
    if counts and of_spec and strategy.changed_spec(new, old):
        new["metadata"]["generation"] = generation + 1


def _validate(machinery: Machinery, call: Call, new: Object, old: Object) -> None:
    resource, strategy = call.resource, call.resource.strategy
    causes: list[Cause] = metadata.validate_update(new, old)
    causes += metadata.validate(
        new,
        namespaced=resource.namespaced,
        name_errors=strategy.name_errors,
        any_finalizer=strategy.any_finalizer,
    )
    if call.subresource == "status":
        causes += strategy.validate_status_update(new, old)
    elif call.subresource == "approval":
        causes += strategy.validate_approval(new, old)
    elif call.subresource in strategy.parts:
        schema = machinery.schema_causes(resource, new)
        causes += merged(schema, strategy.validate_part(call.subresource, new, old))
    elif call.subresource == "":
        schema = machinery.schema_causes(resource, new)
        causes += merged(schema, strategy.validate_update(new, old))
        causes += machinery.allocate(resource, new)
    else:
        causes += validate_content(machinery, call, new, [])
    if causes:
        raise failures.invalid(resource, call.name, causes)


async def _write(
    machinery: Machinery, call: Call, entry: Entry, attempt: _Attempt, options: WriteOptions
) -> Written:
    new, old, warnings = attempt
    value = codec.encode(await stored(call.resource, new))
    outdated = machinery.store.outdated(entry.key) or not is_current(call.resource, entry)
    if _same(new, old) and (options.dry_run or not outdated):
        return Written(entry, warnings)
    if options.dry_run:
        return Written(Entry.stored(entry.key, entry.revision, value), warnings)
    strategy = call.resource.strategy
    claims, held = strategy.claims(new), strategy.claims(old)
    if is_finished(new, old):
        revision = await machinery.store.remove(
            entry.key, mod_revision=entry.revision, releases=list(held)
        )
        return Written(Entry.stored(entry.key, revision, value), warnings, gone=True)
    try:
        revision = await machinery.store.replace(
            entry.key,
            value,
            mod_revision=entry.revision,
            claims={key: value for key, value in claims.items() if key not in held},
            releases=[key for key in held if key not in claims],
        )
    except ClaimTakenError as error:
        assert claims_things(strategy)
        cause = machinery.services.claim_cause(error.key, new)
        raise failures.invalid(call.resource, call.name, [cause]) from error
    return Written(Entry.stored(entry.key, revision, value), warnings)


def _same(new: Object, old: Object) -> bool:
    """Whether nothing is to be written; the resourceVersion does not count."""
    metadata = {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}
    return {**new, "metadata": metadata} == old


def is_finished(new: Object, old: Object) -> bool:
    """Whether an update takes away the last that kept a deleted object."""
    metadata_ = new["metadata"]
    if not metadata_.get("deletionTimestamp") or metadata_.get("finalizers"):
        return False
    if new["kind"] == "Namespace":
        return not (new.get("spec") or {}).get("finalizers")
    had_finalizers = bool(old["metadata"].get("finalizers"))
    return had_finalizers and not metadata_.get("deletionGracePeriodSeconds")


def _prepare_finalize(new: Object, old: Object) -> None:
    """Only spec.finalizers may change."""
    spec, meta = new.get("spec") or {}, new["metadata"]
    new.clear()
    new.update(old)
    kept = {name: meta[name] for name in ("finalizers", "managedFields") if meta.get(name)}
    new["metadata"] = {**old["metadata"], "finalizers": None, **kept}
    new["spec"] = {**(old.get("spec") or {}), "finalizers": spec.get("finalizers") or []}
    if not new["spec"]["finalizers"]:
        del new["spec"]["finalizers"]


def _keep_all(new: Object, old: Object) -> None:
    """A binding sets the Pod's node and its condition at once."""
    del new, old


def _admission_request(
    call: Call, new: Object, old: Object, options: WriteOptions, view: View | None
) -> AdmissionRequest:
    return AdmissionRequest(
        operation=Operation.UPDATE,
        user=call.user,
        gvk=view.gvk if view else call.resource.gvk,
        resource=call.resource.plural,
        subresource=view.subresource if view else call.subresource,
        namespace=call.namespace,
        name=call.name,
        parent=call.resource.gvk if view else None,
        obj=view.show(new) if view else new,
        old=view.show(old) if view else old,
        dry_run=options.dry_run,
        options=options.as_object("UpdateOptions"),
    )
