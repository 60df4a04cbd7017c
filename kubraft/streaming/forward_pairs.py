"""Port-forward over SPDY: which two streams belong together. No I/O.

Each connection that a client forwards has an error stream and a data stream, in any order, with the
same `port` and `requestID`. Clients without request ids open them one after the other.

Source: Kubernetes, `k8s.io/kubelet` cri/streaming/portforward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Whose other half has not come.
HALVES_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Pair:
    """One connection's streams."""

    request: str
    port: int
    data: int
    error: int


class PairError(Exception):
    """A stream is none of a pair; it is to be refused."""


@dataclass(frozen=True, slots=True)
class _Half:
    port: int
    kind: str
    stream: int


class ForwardPairs:
    """Takes streams as they come."""

    def __init__(self) -> None:
        self._halves: dict[str, _Half] = {}

    @property
    def waiting(self) -> int:
        """How many streams have no other half."""
        return len(self._halves)

    def add(self, stream: int, headers: Mapping[str, str]) -> Pair | None:
        """The pair that `stream` completes, if it does.

        Raises:
            PairError: it names no port or type, or its pair has one of its type.
        """
        port, kind = _port(headers.get("port", "")), headers.get("streamtype", "")
        if kind not in ("data", "error"):
            raise PairError(f'invalid stream type "{kind}"')
        request = headers.get("requestid") or str(stream if kind == "error" else stream - 2)
        half = self._halves.pop(request, None)
        if half is None:
            if len(self._halves) >= HALVES_MAX:
                raise PairError("too many streams wait for their other half")
            self._halves[request] = _Half(port, kind, stream)
            return None
        if half.kind == kind or half.port != port:
            self._halves[request] = half
            raise PairError(f"{kind} stream already assigned")
        data, error = (stream, half.stream) if kind == "data" else (half.stream, stream)
        return Pair(request, port, data, error)

    def drop(self, stream: int) -> None:
        """A stream is gone."""
        for request, half in list(self._halves.items()):
            if half.stream == stream:
                del self._halves[request]


def _port(text: str) -> int:
    if not text:
        raise PairError('"port" header is required')
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 65_535):
        raise PairError(f'unable to parse "{text}" as a port')
    return int(text)
