"""`kubraft scale`: how many replicas a Deployment or ReplicaSet shall have."""

from __future__ import annotations

from collections.abc import Sequence

from kubraft.api.object import Object
from kubraft.cli.failure import CommandError
from kubraft.cli.kind_table import Target, parse_targets, qualified, qualified_plural
from kubraft.cli.session import Session

SCALABLE = frozenset({"deployments", "replicasets", "statefulsets", "replicationcontrollers"})


async def scale(
    session: Session, words: Sequence[str], *, replicas: int, current_replicas: int
) -> None:
    """Set `spec.replicas`; with `current_replicas` at least 0, only if it is that now.

    Raises:
        CommandError: the kind has no replicas, or there are not `current_replicas`.
    """
    targets = parse_targets(await session.kinds(), words, "scale")
    if not any(target.names for target in targets):
        raise CommandError("resource(s) were provided, but no name was specified")
    for target in targets:
        for name in target.names:
            await _scale(session, target, name, replicas, current_replicas)
            session.terminal.out(f"{qualified(target.kind)}/{name} scaled")


async def _scale(
    session: Session, target: Target, name: str, replicas: int, current_replicas: int
) -> Object:
    kind = target.kind
    if kind.plural not in SCALABLE:
        raise CommandError(f"{qualified_plural(kind)} cannot be scaled: they have no replicas")
    version = ""
    if current_replicas >= 0:
        obj = await session.client.get(kind.gvk, name, session.namespace)
        found = obj["spec"].get("replicas", 1)
        if found != current_replicas:
            raise CommandError(f"Expected replicas to be {current_replicas}, was {found}")
        version = obj["metadata"]["resourceVersion"]
    return await session.client.patch(
        kind.gvk,
        name,
        {"spec": {"replicas": replicas}},
        session.namespace,
        resource_version=version,
    )
