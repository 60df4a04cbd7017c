"""Which container of a Pod a request means. Pure.

Source: upstream's pod strategy, validateContainer.
"""

from __future__ import annotations

from typing import Any

from kubraft.api.errors import BadRequestError
from kubraft.api.object import Object


def container_of(pod: Object, asked: str) -> str:
    """The container that is meant: the Pod's only one where none is named.

    Raises:
        BadRequestError: there is none of that name, or more than one to choose from.
    """
    spec, name = pod["spec"], pod["metadata"]["name"]
    kinds = ("initContainers", "containers", "ephemeralContainers")
    names = [each["name"] for kind in kinds for each in spec.get(kind) or ()]
    if asked:
        if asked not in names:
            raise BadRequestError(f"container {asked} is not valid for pod {name}")
        return asked
    own: list[dict[str, Any]] = spec.get("containers") or []
    if len(own) == 1:
        return str(own[0]["name"])
    raise BadRequestError(
        f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    )
