"""Pods, and pictures of them in a runtime, for tests of pure decisions."""

from __future__ import annotations

from typing import Any

from agents.node.plan import spec_hash
from agents.node.pod_view import CREATED, EXITED, RUNNING, ContainerView, PodView, SandboxView
from kubraft.api.object import Object

NOW_S = 1_000_000.0


def pod(*names: str, init: tuple[str, ...] = (), **spec: Any) -> Object:
    """A Pod with these containers; `metadata` and `status` may be given too."""
    metadata = {"name": "p", "namespace": "default", "uid": "u", **spec.pop("metadata", {})}
    status = spec.pop("status", {})
    containers = [{"name": name, "image": "busybox"} for name in names or ("main",)]
    inits = [_init(name) for name in init]
    full = {"containers": containers, **({"initContainers": inits} if inits else {}), **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": full, "status": status}


def _init(name: str) -> dict[str, Any]:
    """An init container; one whose name begins with "side" is a sidecar."""
    sidecar = {"restartPolicy": "Always"} if name.startswith("side") else {}
    return {"name": name, "image": "busybox", **sidecar}


def life(
    name: str, state: str, attempt: int = 0, sandbox: str = "s0", **more: Any
) -> ContainerView:
    """`state`: "created", "running", or "exit CODE"."""
    word, _space, code = state.partition(" ")
    return ContainerView(
        id=f"{name}{attempt}",
        name=name,
        attempt=attempt,
        sandbox_id=sandbox,
        state={"created": CREATED, "running": RUNNING, "exit": EXITED}[word],
        created_at_ns=1 + attempt,
        started_at_ns=2 + attempt,
        finished_at_ns=int(more.pop("finished_at_s", NOW_S - 1) * 1e9) if word == "exit" else 0,
        exit_code=int(code or 0),
        spec_hash=spec_hash({"name": name, "image": "busybox"}),
        **more,
    )


def view(
    *lives: ContainerView, sandboxes: tuple[tuple[str, bool], ...] = (("s0", True),)
) -> PodView:
    """`sandboxes`: ids with whether they are ready, oldest first."""
    found = [SandboxView(i, n, ready, "127.64.0.2", n) for n, (i, ready) in enumerate(sandboxes)]
    ordered = sorted(lives, key=lambda c: (c.attempt, c.created_at_ns), reverse=True)
    return PodView(tuple(reversed(found)), tuple(ordered))
