"""Delete: carries out the plan of `deletion` with a compare-and-swap."""

from __future__ import annotations

from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.registry import deletion, failures
from apiserver.registry.call import Call, DeleteOptions, Written
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.presentation import presented
from apiserver.storage import codec
from apiserver.storage.entry import Entry
from apiserver.storage.errors import RevisionMismatchError
from kubraft.api.errors import BadRequestError
from kubraft.api.object import Object

ATTEMPTS_MAX = 32


async def delete(
    machinery: Machinery, policy: Policy, call: Call, options: DeleteOptions
) -> Written:
    """Delete an object, or begin to.

    Raises:
        NotFoundError: there is none.
        ConflictError: a precondition does not hold.
        BadRequestError: an option makes no sense.
    """
    if not options.trusted:
        policy.check(call, "delete")
    return await delete_authorized(machinery, policy, call, options)


async def delete_authorized(
    machinery: Machinery, policy: Policy, call: Call, options: DeleteOptions
) -> Written:
    """As `delete`, where it is known already that the caller may."""
    _check_options(options)
    entry = await machinery.reads.get(call.resource.prefix, call.key, resource_version=0)
    fresh = False
    for _ in range(ATTEMPTS_MAX):
        if entry is None and not fresh:
            entry, fresh = await machinery.find(call.key), True
        if entry is None:
            raise failures.not_found(call.resource, call.name)
        obj = entry.decode()
        if cause := _mismatch(obj, options):
            if fresh:
                raise failures.conflict(call.resource, call.name, cause)
            entry, fresh = await machinery.find(call.key), True
            continue
        if not options.trusted:
            await policy.admit(
                _admission_request(call, await presented(call.resource, entry), options)
            )
        plan = deletion.plan(
            obj,
            call.resource.strategy,
            grace_s=options.grace_period_s,
            propagation=options.propagation,
            now=machinery.clock.now(),
        )
        try:
            return await _carry_out(machinery, call, entry, plan, options)
        except RevisionMismatchError:
            entry, fresh = await machinery.find(call.key), True
    raise failures.conflict(call.resource, call.name)


async def _carry_out(
    machinery: Machinery, call: Call, entry: Entry, plan: deletion.Plan, options: DeleteOptions
) -> Written:
    value = codec.encode(plan.obj)
    if options.dry_run or not (plan.remove or plan.write):
        return Written(Entry.stored(entry.key, entry.revision, value), gone=plan.remove)
    if plan.remove:
        held = call.resource.strategy.claims(entry.decode())
        revision = await machinery.store.remove(
            entry.key, mod_revision=entry.revision, releases=list(held)
        )
        return Written(Entry.stored(entry.key, revision, value), gone=True)
    revision = await machinery.store.replace(entry.key, value, mod_revision=entry.revision)
    return Written(Entry.stored(entry.key, revision, value))


def _check_options(options: DeleteOptions) -> None:
    if options.propagation and options.propagation not in deletion.PROPAGATIONS:
        choices = ", ".join(f'"{p}"' for p in (*deletion.PROPAGATIONS, "nil"))
        raise BadRequestError(
            f'propagationPolicy: Unsupported value: "{options.propagation}": '
            f"supported values: {choices}"
        )
    if options.grace_period_s is not None and options.grace_period_s < 0:
        raise BadRequestError(
            f"gracePeriodSeconds: Invalid value: {options.grace_period_s}: "
            "must be greater than or equal to 0"
        )


def _mismatch(obj: Object, options: DeleteOptions) -> str:
    """Which precondition does not hold, in upstream's words; "" where all do."""
    metadata = obj["metadata"]
    if options.uid and options.uid != metadata["uid"]:
        return (
            f"Precondition failed: UID in precondition: {options.uid}, "
            f"UID in object meta: {metadata['uid']}"
        )
    if options.resource_version and options.resource_version != metadata["resourceVersion"]:
        return (
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {metadata['resourceVersion']}"
        )
    return ""


def _admission_request(call: Call, entry: Entry, options: DeleteOptions) -> AdmissionRequest:
    return AdmissionRequest(
        operation=Operation.DELETE,
        user=call.user,
        gvk=call.resource.gvk,
        resource=call.resource.plural,
        namespace=call.namespace,
        name=call.name,
        old=entry.decode(),
        dry_run=options.dry_run,
        options=options.as_object(),
    )
