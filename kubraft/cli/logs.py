"""`kubraft logs`: what containers wrote.

Source: kubectl's logs command (default container, prefixes, words).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kubraft.api.gvk import POD, SERVICE
from kubraft.api.labels import LabelSelector, selector_from_labels, selector_from_object
from kubraft.api.object import Object, annotations_of, key_of
from kubraft.api.pods import all_containers, is_active
from kubraft.cli.failure import CommandError
from kubraft.cli.kind_table import parse_targets
from kubraft.cli.session import Session

DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
# How many containers are followed at once, unless the user raises it.
STREAMS_MAX: Final = 5
SELECTED_TAIL_LINES: Final = 10  # kubectl's default where a selector names the Pods


@dataclass(frozen=True, slots=True)
class Options:
    """Which logs, and how much of them."""

    container: str = ""
    all_containers: bool = False
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int = -1
    since_s: int = 0
    limit_bytes: int = 0
    label_selector: str = ""
    prefix: bool = False
    streams_max: int = STREAMS_MAX


async def logs(session: Session, words: Sequence[str], options: Options) -> None:
    """Print the logs of the Pod, or of the Pods, that `words` or the selector name.

    Raises:
        CommandError: nothing to print from.
    """
    pods, container = await _pods(session, words, options)
    streams = [
        (pod, name)
        for pod in pods
        for name in _containers(session, pod, container or options.container, options)
    ]
    if options.follow and len(streams) > options.streams_max:
        raise CommandError(
            f"you are attempting to follow {len(streams)} log streams, but maximum allowed "
            f"concurrency is {options.streams_max}, use --max-log-requests to increase the limit"
        )
    if not options.follow or len(streams) == 1:
        for pod, name in streams:
            await _print(session, pod, name, options)
        return
    await asyncio.gather(*(_print(session, pod, name, options) for pod, name in streams))


async def _pods(
    session: Session, words: Sequence[str], options: Options
) -> tuple[list[Object], str]:
    """The Pods, and the container where it was named after the Pod."""
    if options.label_selector:
        if words:
            raise CommandError("only a selector (-l) or a POD name is allowed")
        found = await session.client.list(
            POD, session.namespace, label_selector=options.label_selector
        )
        if not found.items:
            session.terminal.err(f"No resources found in {session.namespace} namespace.")
        return found.items, ""
    if not words or len(words) > 2:
        raise CommandError("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'")
    container = words[1] if len(words) > 1 else ""
    if "/" not in words[0]:
        return [await session.client.get(POD, words[0], session.namespace)], container
    (target,) = parse_targets(await session.kinds(), words[:1])
    name = target.names[0]
    if target.kind.gvk == POD:
        return [await session.client.get(POD, name, session.namespace)], container
    owner = await session.client.get(target.kind.gvk, name, session.namespace)
    return [await _pod_of(session, owner, f"{target.kind.plural}/{name}")], container


async def _pod_of(session: Session, owner: Object, shown: str) -> Object:
    """One Pod of a workload, an active one first."""
    selector = (owner.get("spec") or {}).get("selector")
    if not selector:
        raise CommandError(f"cannot get the logs from {shown}: it selects no Pods")
    service = owner["kind"] == SERVICE.kind
    chosen: LabelSelector = (
        selector_from_labels(selector) if service else selector_from_object(selector)
    )
    pods = (await session.client.list(POD, session.namespace, label_selector=str(chosen))).items
    if not pods:
        raise CommandError(f"no pods found for {shown}")
    pods.sort(key=lambda pod: (not is_active(pod), key_of(pod)))
    if len(pods) > 1:
        session.terminal.err(f"Found {len(pods)} pods, using pod/{pods[0]['metadata']['name']}")
    return pods[0]


def _containers(session: Session, pod: Object, named: str, options: Options) -> list[str]:
    names = [container["name"] for container in all_containers(pod["spec"])]
    if options.all_containers:
        return names
    if named:
        if named not in names:
            raise CommandError(f"container {named} is not valid for pod {pod['metadata']['name']}")
        return [named]
    main = [container["name"] for container in pod["spec"].get("containers") or ()]
    chosen = annotations_of(pod).get(DEFAULT_CONTAINER, "")
    chosen = chosen if chosen in names else main[0]
    if len(names) > 1 and not options.label_selector:
        init = set(names) - set(main)
        shown = ", ".join(f"{n} (init)" if n in init else n for n in [*main, *sorted(init)])
        session.terminal.err(f'Defaulted container "{chosen}" out of: {shown}')
    return [chosen]


async def _print(session: Session, pod: Object, container: str, options: Options) -> None:
    key = key_of(pod)
    tail = options.tail_lines
    if tail < 0 and options.label_selector and not options.follow:
        tail = SELECTED_TAIL_LINES
    stream = session.client.logs(
        key.name,
        key.namespace,
        container=container,
        follow=options.follow,
        previous=options.previous,
        timestamps=options.timestamps,
        tail_lines=tail if tail >= 0 else None,
        since_s=options.since_s or None,
        limit_bytes=options.limit_bytes or None,
    )
    prefix = f"[pod/{key.name}/{container}] ".encode() if options.prefix else b""
    rest = b""
    async with contextlib.aclosing(stream):
        async for chunk in stream:
            if not prefix:
                session.terminal.raw(chunk)
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                session.terminal.raw(b"".join(prefix + line + b"\n" for line in lines))
    if rest:
        session.terminal.raw(prefix + rest + b"\n")
