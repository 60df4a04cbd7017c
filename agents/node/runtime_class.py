"""Which of the runtime's handlers a Pod's sandbox is for, by its RuntimeClass."""

from __future__ import annotations

from agents.node.environment import Fetch
from kubraft.api.errors import ApiError, NotFoundError
from kubraft.api.gvk import GroupVersionKind
from kubraft.api.object import Object

_RUNTIME_CLASS = GroupVersionKind("node.k8s.io", "v1", "RuntimeClass")


class RuntimeClassError(Exception):
    """The class cannot be had; the message is for the user."""


async def runtime_handler(pod: Object, fetch: Fetch) -> str:
    """The handler's name; "" is the runtime's default.

    Raises:
        RuntimeClassError: there is no such class, or nobody says.
    """
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    try:
        found = await fetch(_RUNTIME_CLASS, "", name)
    except NotFoundError as error:
        raise RuntimeClassError(f'runtimeclass.node.k8s.io "{name}" not found') from error
    except ApiError as error:
        text = f"failed to lookup RuntimeClass {name}: {error.message}"
        raise RuntimeClassError(text) from error
    return str(found["handler"])
