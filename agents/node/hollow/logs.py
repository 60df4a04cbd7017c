"""Logs of hollow containers: what a node agent would have to tell of them, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

from agents.node.log_lines import LineWriter
from agents.node.log_service import NodeAgentService
from agents.node.pod_view import ContainerView, moment
from kubraft.api.object import Object
from kubraft.api.pods import node_of
from kubraft.pb.v1 import objects_pb2 as pb

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


class HollowLogs(NodeAgentService):
    """Answers as the node agent does, from what is known of a life instead of from a file."""

    async def _stream(
        self, request: pb.LogsRequest, pod: Object, life: ContainerView
    ) -> AsyncIterator[bytes]:
        since = ""
        if request.HasField("since_seconds"):
            when = self._clock.now() - timedelta(seconds=request.since_seconds)
            since = when.strftime(_FORMAT)
        writer = LineWriter(
            timestamps=request.timestamps,
            since=since,
            limit_bytes=request.limit_bytes if request.HasField("limit_bytes") else None,
        )
        lines = log_lines(pod, life)
        if request.HasField("tail_lines"):
            lines = lines[len(lines) - min(len(lines), request.tail_lines) :]
        for line in lines:
            if text := writer.render(line):
                yield text


def log_lines(pod: Object, life: ContainerView) -> list[bytes]:
    """What the log of a life says, as lines of a CRI log."""
    lines = [
        (
            life.started_at_ns,
            f"hollow container {life.name} of node {node_of(pod)} began: no program runs in it",
        )
    ]
    if life.exited:
        lines.append((life.finished_at_ns, f"ended with status {life.exit_code}"))
    return [f"{moment(at_ns).strftime(_FORMAT)} stdout F {text}".encode() for at_ns, text in lines]
