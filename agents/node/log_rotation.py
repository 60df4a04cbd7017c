"""Keeps container logs small: a log over its size is renamed, and the runtime opens a new one.

Source: upstream's kubelet settings containerLogMaxSize (10Mi) and containerLogMaxFiles (5).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from agents.node.cri_client import CriClient, RuntimeCallError
from agents.node.pod_view import POD_UID
from kubraft.api.time import Clock
from kubraft.log import get_logger
from kubraft.pb.criv1 import api_pb2 as cri

BYTES_MAX = 10 * 1024 * 1024
FILES_MAX = 5
_PERIOD_S = 10.0

log = get_logger("node.logs")


class LogRotation:
    """Looks at the logs of all running containers, now and then."""

    def __init__(self, runtime: CriClient, clock: Clock, *, bytes_max: int = BYTES_MAX) -> None:
        self._runtime = runtime
        self._clock = clock
        self._bytes_max = bytes_max
        self._paths: dict[str, Path] = {}  # by container

    async def run(self) -> None:
        """Rotate until cancelled."""
        while True:
            await self._clock.sleep(_PERIOD_S)
            try:
                await self.rotate_all()
            except (RuntimeCallError, OSError) as error:
                log.warning("rotation failed", cause=str(error))

    async def rotate_all(self) -> None:
        """Rotate every log that is too large."""
        await self._find_paths()
        for container_id in await asyncio.to_thread(_too_large, self._paths, self._bytes_max):
            path = self._paths[container_id]
            await asyncio.to_thread(rename_away, path)
            try:
                await self._runtime.reopen_log(container_id)
            except RuntimeCallError:
                # It has just ended, or goes on in the old file: that is its log, as before.
                await asyncio.to_thread(_take_back, path)
                raise

    async def _find_paths(self) -> None:
        """Know where the logs are; the runtime is asked once in a container's life."""
        listed = await self._runtime.containers()
        running = {c.id: c for c in listed if c.state == cri.CONTAINER_RUNNING}
        self._paths = {key: path for key, path in self._paths.items() if key in running}
        new = [container for key, container in running.items() if key not in self._paths]
        for uid in {container.labels.get(POD_UID, "") for container in new}:
            view = await self._runtime.view(uid)
            self._paths |= {c.id: Path(c.log_path) for c in view.running if c.log_path}


def _too_large(paths: Mapping[str, Path], bytes_max: int) -> list[str]:
    found = []
    for container_id, path in paths.items():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > bytes_max:
                found.append(container_id)
    return found


def _take_back(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not path.exists():
            path.with_name(f"{path.name}.1").replace(path)


def rename_away(path: Path, files_max: int = FILES_MAX) -> None:
    """Make room at `path`: it becomes PATH.1, PATH.1 becomes PATH.2, ...; the last one is lost."""
    for number in range(files_max - 1, 0, -1):
        source = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        if source.exists():
            source.replace(path.with_name(f"{path.name}.{number}"))
