"""What to start and how: the description that the runtime hands to the nursery.

It travels as JSON in a memory file, so that environment values are never on a disk nor on a
command line. Standard library only.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Bind:
    """One path of the host that the container sees at `target`."""

    source: str  # absolute, exists
    target: str  # absolute, in the container
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """One program: a container's own, or one that is executed beside it."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    builtin: str = (
        ""  # a stand-in that needs no exec: "web", "nginx" or "pause"; argv are its arguments
    )
    uid: int | None = None  # None: the runtime's own
    gid: int | None = None
    groups: tuple[int, ...] = ()
    tty: bool = False
    stdin: bool = False  # kept open, rather than empty
    stdin_once: bool = False  # until the first who attaches to it has gone
    no_new_privileges: bool = False
    privileged: bool = False
    capabilities: tuple[int, ...] = ()  # what root keeps, unless privileged
    # The rest is read for a container's own program only.
    isolated: bool = False  # in namespaces of its own
    joins: str = ""  # id of the container, or sandbox, whose PID namespace it is born into
    sandbox: bool = False  # process 1 of a namespace that containers are born into
    host_pids: bool = False  # it has no PID namespace but the host's
    root: str = ""  # an empty directory of the host to assemble the file system on
    hostname: str = ""
    binds: tuple[Bind, ...] = ()
    masked: tuple[str, ...] = ()  # directories that look empty inside
    private: tuple[Bind, ...] = ()  # as binds, mounted first: /tmp and its like
    read_only_root: bool = False
    oom_score_adj: int = 0
    cgroups: tuple[str, ...] = ()  # directories of the groups to join

    @property
    def own_pids(self) -> bool:
        """Whether its first process is process 1 of a PID namespace, and takes all else along."""
        return self.isolated and not self.joins and not self.host_pids

    def beside(self, argv: tuple[str, ...], *, tty: bool = False) -> Launch:
        """How to start another program in the container of which this is the own one's launch."""
        return Launch(
            argv=argv,
            env={"TERM": "xterm", **self.env} if tty else self.env,
            cwd=self.cwd,
            uid=self.uid,
            gid=self.gid,
            groups=self.groups,
            tty=tty,
            privileged=self.privileged,
            capabilities=self.capabilities,
            oom_score_adj=self.oom_score_adj,
            no_new_privileges=self.no_new_privileges,
        )

    def to_memory_file(self) -> int:
        """Write this into an anonymous file; the caller owns the returned descriptor."""
        fd = os.memfd_create("launch", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(json.dumps(asdict(self)).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        return fd


def read_launch(fd: int) -> Launch:
    """Read what `to_memory_file` wrote, and close `fd`."""
    os.lseek(fd, 0, os.SEEK_SET)
    with os.fdopen(fd, "rb") as file:
        values = json.loads(file.read())
    for name in ("binds", "private"):
        values[name] = tuple(Bind(**bind) for bind in values[name])
    for name in ("argv", "groups", "masked", "capabilities", "cgroups"):
        values[name] = tuple(values[name])
    return Launch(**values)
