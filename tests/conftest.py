"""What holds for the whole suite."""

from __future__ import annotations

import signal

from hypothesis import settings

# How long an example takes says more of the machine and its load than of the program.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

# A runner that was started in the background ignores SIGINT, and so would every program that a
# test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
