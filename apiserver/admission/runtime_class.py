"""RuntimeClass: what a class of runtimes costs, and where it runs, becomes part of its Pods.

Source: upstream's plugin of that name (messages).
"""

from __future__ import annotations

from typing import Any

from apiserver.admission.plugin import Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest
from apiserver.registry.kinds.node import RUNTIME_CLASS
from kubraft.api.errors import NotFoundError
from kubraft.api.object import Object
from kubraft.api.quantity import parse_quantity


class RuntimeClass(Plugin):
    """Sets overhead, node selector and tolerations of new Pods that name a class."""

    name = "RuntimeClass"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context

    def handles(self, request: AdmissionRequest) -> bool:
        spec = (request.obj or {}).get("spec")
        if not request.creates_pod or not isinstance(spec, dict):
            return False
        return spec.get("runtimeClassName") is not None or spec.get("overhead") is not None

    async def mutate(self, request: AdmissionRequest) -> None:
        found = await self._find(request)
        if found is None:
            return
        assert request.obj is not None
        spec: dict[str, Any] = request.obj["spec"]
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead is not None:
            if spec.get("overhead") is not None and not _same(spec["overhead"], overhead):
                raise _mismatch(request)
            spec["overhead"] = dict(overhead)
        scheduling = found.get("scheduling") or {}
        if selector := scheduling.get("nodeSelector"):
            spec["nodeSelector"] = _merged(request, spec.get("nodeSelector") or {}, selector)
        if more := scheduling.get("tolerations"):
            own = list(spec.get("tolerations") or ())
            spec["tolerations"] = own + [each for each in more if each not in own]

    async def validate(self, request: AdmissionRequest) -> None:
        found = await self._find(request)
        assert request.obj is not None
        own = request.obj["spec"].get("overhead")
        overhead = ((found or {}).get("overhead") or {}).get("podFixed")
        if overhead is None and own is not None:
            raise request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        if overhead is not None and not _same(own or {}, overhead):
            raise _mismatch(request)

    async def _find(self, request: AdmissionRequest) -> Object | None:
        assert request.obj is not None
        name = request.obj["spec"].get("runtimeClassName")
        if name is None:
            return None
        cached = self._context.reader.get(RUNTIME_CLASS, "", str(name))
        if cached is not None:
            return cached
        try:
            return await self._context.writer.get(RUNTIME_CLASS, "", str(name))
        except NotFoundError as error:
            said = f'pod rejected: RuntimeClass "{name}" not found'
            raise request.forbidden(said) from error


def _mismatch(request: AdmissionRequest) -> Exception:
    return request.forbidden(
        "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one.keys() != other.keys():
        return False
    try:
        return all(parse_quantity(one[key]) == parse_quantity(other[key]) for key in one)
    except ValueError:
        return False


def _merged(
    request: AdmissionRequest, own: dict[str, str], selector: dict[str, str]
) -> dict[str, str]:
    for key, value in selector.items():
        if key in own and own[key] != value:
            raise request.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {own[key]}"
            )
    return {**own, **selector}
