"""Runs a blocking function of a hook beside the event loop.

Each call has a daemon thread of its own, at most so many at a time: a function that never returns
then holds neither the request (which has a time limit) nor the end of the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final

THREADS_MAX: Final = 32

_free = threading.BoundedSemaphore(THREADS_MAX)


class BusyError(Exception):
    """All threads are taken, by calls that take long or hang."""


async def run_in_thread(function: Callable[[], Any]) -> Any:
    """What `function` returns or raises.

    Raises:
        BusyError: too many calls are under way.
    """
    if not _free.acquire(blocking=False):
        raise BusyError(f"{THREADS_MAX} hook calls are under way already")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - it is raised in the task that waits
            failure = error
        finally:
            _free.release()
        try:
            loop.call_soon_threadsafe(settle, result, failure)
        except RuntimeError:
            return  # the loop has ended, nobody waits

    threading.Thread(target=run, name="admission-hook", daemon=True).start()
    return await answer
