"""The few Linux system calls that Python's standard library does not wrap.

Standard library only: the nursery and every container's first process load this file, and both
must start in milliseconds. Every function raises OSError with the kernel's errno.

Source: prctl(2), unshare(2), mount(2), mount_setattr(2), pivot_root(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

# Same numbers on every architecture: both calls are newer than the unified table.
_SYS_MOUNT_SETATTR = 442
_MOUNT_ATTR_RDONLY = 1
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000

# What a container's root keeps, by number: chown, dac_override, fowner, fsetid, kill, setgid,
# setuid, setpcap, net_bind_service, net_raw, sys_chroot, audit_write, setfcap. It is containerd's
# default without mknod: there is no device cgroup here that would make a device node harmless.
DEFAULT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31})
_LAST_CAPABILITY = 63


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _prctl(option: int, value: int, what: str) -> None:
    zero = ctypes.c_ulong(0)
    _check(_LIBC.prctl(option, ctypes.c_ulong(value), zero, zero, zero), what)


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send `number` when the thread that forked this process ends.

    The caller must then check that its parent is still the one it means.
    """
    _prctl(_PR_SET_PDEATHSIG, number, "PR_SET_PDEATHSIG")


def set_child_subreaper() -> None:
    """Become the parent of every orphan below this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "PR_SET_CHILD_SUBREAPER")


def set_no_new_privileges() -> None:
    """No set-uid program gains anything from here on."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "PR_SET_NO_NEW_PRIVS")


def set_process_name(name: str) -> None:
    """The name that ps shows; the kernel keeps 15 bytes."""
    text = ctypes.create_string_buffer(name.encode()[:15])
    _prctl(_PR_SET_NAME, ctypes.addressof(text), "PR_SET_NAME")


def drop_capabilities(keep: frozenset[int]) -> None:
    """Take all capabilities but `keep` out of the bounding set; the next exec obeys it."""
    for number in range(_LAST_CAPABILITY + 1):
        if number in keep:
            continue
        try:
            _prctl(_PR_CAPBSET_DROP, number, "PR_CAPBSET_DROP")
        except OSError:
            return  # EINVAL: the kernel's last capability is behind us; EPERM: nothing to drop


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` (CLONE_NEW...) for new ones."""
    _check(_LIBC.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: int) -> None:
    """Join the namespace that `fd` (of /proc/PID/ns) stands for; `kind` is its CLONE_NEW..."""
    _check(_LIBC.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Attach `source` at `target`; empty strings become NULL."""
    arguments = [text.encode() if text else None for text in (source, target, kind, data)]
    _check(
        _LIBC.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3]),
        f"mount {target}",
    )


def detach(target: str) -> None:
    """Take a mount out of sight now, and away once nothing uses it."""
    _check(_LIBC.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def make_read_only(target: str) -> None:
    """Make the mount at `target`, and all below it, read-only (Linux 5.12)."""
    attributes = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _LIBC.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE),
        ctypes.byref(attributes),
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    _check(result, f"make {target} read-only")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make `new_root` this mount namespace's root; the old one appears at `put_old`."""
    numbers = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
    number = numbers.get(os.uname().machine)
    if number is None:
        raise OSError(38, os.strerror(38), "pivot_root")
    _check(_LIBC.syscall(ctypes.c_long(number), new_root.encode(), put_old.encode()), "pivot_root")


def set_host_name(name: str) -> None:
    """sethostname(2), for a UTS namespace of one's own."""
    text = name.encode()
    _check(_LIBC.sethostname(text, ctypes.c_size_t(len(text))), "sethostname")


def join_cgroups(directories: tuple[str, ...]) -> None:
    """Put the calling process, and all that it will start, into these groups.

    Raises:
        OSError: the kernel refused.
    """
    for directory in directories:
        with open(f"{directory}/cgroup.procs", "w") as file:
            file.write("0")
