"""A small process for the supervisor's tests: `python -m tests.kubraft.supervisor.stand_in HOW`.

serve     say event=ready, end on SIGTERM
stubborn  ignore SIGTERM
crash     end with status 3 at once
family    leave a grandchild that detached itself, and say its pid
"""

from __future__ import annotations

import os
import signal
import sys
import time


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def leave_grandchild() -> int:
    """A process whose parent is gone, as a daemon makes itself."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        pid = os.fork()
        if pid:
            os.write(writer, str(pid).encode())
            os._exit(0)
        time.sleep(600)
        os._exit(0)
    pid = int(os.read(reader, 20))
    os.wait()
    return pid


def main() -> int:
    how = sys.argv[1]
    if how == "crash":
        say("event=failed")
        return 3
    if how == "family":
        say(f"grandchild={leave_grandchild()}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if how == "stubborn" else lambda *_: sys.exit(0))
    say("event=ready")
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
