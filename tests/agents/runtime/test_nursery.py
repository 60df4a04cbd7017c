from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from agents.runtime.launch import Launch
from agents.runtime.nursery import fork_init


@pytest.mark.parametrize("isolated", [True, False])
def test_a_fork_that_is_refused_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, *, isolated: bool
) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    launch = Launch(argv=("true",), env={}, cwd="/", isolated=isolated)
    ours, control = socket.socketpair()
    with ours, control:
        before = sorted(Path("/proc/self/fd").iterdir())
        with pytest.raises(OSError, match="temporarily unavailable"):
            fork_init(launch, control, (0, 1, 2))
        assert sorted(Path("/proc/self/fd").iterdir()) == before
