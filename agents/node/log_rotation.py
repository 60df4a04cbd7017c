"""Keeps container logs small: a log over its size is renamed, and the runtime opens a new one.

Source: upstream's kubelet settings containerLogMaxSize (10Mi) and containerLogMaxFiles (5).
"""

from __future__ import annotations

import asyncio
import contextlib
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
        running = [c for c in await self._runtime.containers() if c.state == cri.CONTAINER_RUNNING]
        for uid in {container.labels.get(POD_UID, "") for container in running}:
            view = await self._runtime.view(uid)
            for life in view.running:
                if not life.log_path:
                    continue
                path = Path(life.log_path)
                if not await asyncio.to_thread(_rotate, path, self._bytes_max):
                    continue
                try:
                    await self._runtime.reopen_log(life.id)
                except RuntimeCallError:
                    # It has just ended, or goes on in the old file: that is its log, as before.
                    await asyncio.to_thread(_take_back, path)
                    raise


def _rotate(path: Path, bytes_max: int) -> bool:
    try:
        if path.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    rename_away(path)
    return True


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
