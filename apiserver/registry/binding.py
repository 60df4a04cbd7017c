"""pods/binding: gives a Pod its node, once.

Source: Kubernetes API reference, core/v1 Binding; upstream's messages.
"""

from __future__ import annotations

from apiserver.admission.request import AdmissionRequest, Operation
from apiserver.registry import failures
from apiserver.registry.call import Call, WriteOptions, Written
from apiserver.registry.machinery import Machinery
from apiserver.registry.policy import Policy
from apiserver.registry.update import patch
from kubraft.api.conditions import with_condition
from kubraft.api.errors import Cause, InvalidError
from kubraft.api.gvk import BINDING
from kubraft.api.object import Object

SUCCESS: Object = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}


async def bind(
    machinery: Machinery, policy: Policy, call: Call, binding: Object, options: WriteOptions
) -> Written:
    """Set the Pod's node and its condition PodScheduled in one write.

    Raises:
        ConflictError: the Pod has a node already, or is being deleted.
        InvalidError: the Binding names no Node.
    """
    if not options.trusted:
        policy.check(call, "create")
    target = binding.get("target")
    node = target.get("name") if isinstance(target, dict) else None
    if not isinstance(target, dict) or not isinstance(node, str) or not node:
        cause = Cause("FieldValueRequired", "Required value", "target.name")
        raise InvalidError(
            f'Binding "{call.name}" is invalid: {cause}', kind="Binding", causes=[cause]
        )
    if target.get("kind") not in (None, "", "Node"):
        cause = Cause(
            "FieldValueNotSupported",
            f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"',
            "target.kind",
        )
        raise InvalidError(
            f'Binding "{call.name}" is invalid: {cause}', kind="Binding", causes=[cause]
        )
    binding = await _admit(policy, call, binding, options)
    wanted = binding["metadata"]
    own = (wanted.get("uid", ""), wanted.get("resourceVersion", ""))

    def assign(pod: Object) -> Object:
        _check_free(call, pod)
        if labels := wanted.get("labels"):  # those that the Pod has stay, as upstream
            pod["metadata"]["labels"] = {**labels, **(pod["metadata"].get("labels") or {})}
        if extra := wanted.get("annotations"):
            pod["metadata"]["annotations"] = {**(pod["metadata"].get("annotations") or {}), **extra}
        for field, value in zip(("uid", "resourceVersion"), own, strict=True):
            if value:
                pod["metadata"][field] = value
            elif field == "resourceVersion":
                pod["metadata"].pop(field, None)
        pod["spec"]["nodeName"] = node
        status = pod.setdefault("status", {})
        condition = {"type": "PodScheduled", "status": "True"}
        conditions = with_condition(status.get("conditions"), condition, machinery.clock.now())
        status["conditions"] = conditions
        status.pop("nominatedNodeName", None)  # it was a wish, and has come true or not
        return pod

    trusted = WriteOptions(dry_run=options.dry_run, trusted=True)
    return await patch(machinery, policy, call, assign, trusted)


async def _admit(policy: Policy, call: Call, binding: Object, options: WriteOptions) -> Object:
    """The binding as admission leaves it; the node stays whose name was asked for."""
    if options.trusted:
        return binding
    request = AdmissionRequest(
        Operation.CREATE,
        call.user,
        BINDING,
        call.resource.plural,
        call.subresource,
        call.namespace,
        call.name,
        obj=binding,
        dry_run=options.dry_run,
        options=options.as_object("CreateOptions"),
        parent=call.resource.gvk,
    )
    await policy.admit(request)
    return request.obj or binding


def _check_free(call: Call, pod: Object) -> None:
    name = pod["metadata"]["name"]
    if pod["metadata"].get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
        raise failures.conflict_of("pods/binding", call.resource, name, why)
    if assigned := pod["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{assigned}"'
        raise failures.conflict_of("pods/binding", call.resource, name, why)
    if pod["spec"].get("schedulingGates"):
        why = f"pod {name} has non-empty .spec.schedulingGates"
        raise failures.conflict_of("pods/binding", call.resource, name, why)
