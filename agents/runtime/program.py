"""Start one program as a child of this process: the step between fork and exec.

Used by a container's first process, for the container's own program and for those executed beside
it. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import sys
import termios
import traceback
from typing import NoReturn

from agents.runtime import linux
from agents.runtime.launch import Launch


class StartError(Exception):
    """A program could not be started; the message is for the user."""


def start_program(launch: Launch, stdio: tuple[int, int, int]) -> int:
    """Start `launch` in a session of its own on the three descriptors of `stdio`.

    Returns:
        Its pid, once the program runs.

    Raises:
        StartError: it does not exist, may not be executed, or its directory or user is wrong.
    """
    report_read, report_write = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
    except OSError as error:
        os.close(report_read)
        os.close(report_write)
        raise StartError(f"cannot fork: {error.strerror}") from error
    if pid == 0:
        os.close(report_read)
        _become(launch, stdio, report_write)
    os.close(report_write)
    with os.fdopen(report_read, "rb") as report:
        message = report.read()
    if message:
        os.waitpid(pid, 0)
        raise StartError(message.decode(errors="replace"))
    return pid


def _become(launch: Launch, stdio: tuple[int, int, int], report: int) -> NoReturn:
    """In the child: turn into the program; a failure goes to `report`."""
    try:
        _prepare(launch, stdio, report)
        if launch.builtin:
            from agents.runtime.builtin import run  # noqa: PLC0415 - only these need it

            os.environ.clear()
            os.environ.update(launch.env)
            # A signal that comes before the stand-in can take it waits until it can.
            signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
            os.close(report)
            code = run(launch.builtin, launch.argv)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        path = find_program(launch.argv[0], launch.env.get("PATH", ""))
        os.execve(path, launch.argv, launch.env)  # noqa: S606 - what a container is
    except StartError as error:
        os.write(report, str(error).encode())
    except OSError as error:
        os.write(report, _explain(launch, error).encode())
    except BaseException:  # noqa: BLE001 - this process must never return into its parent's code
        traceback.print_exc()
        with contextlib.suppress(OSError):
            os.write(report, b"internal error; the container's log has the details")
    os._exit(128)


def _prepare(launch: Launch, stdio: tuple[int, int, int], report: int) -> None:
    """Session, descriptors, directory, user and signals of the program."""
    signal.set_wakeup_fd(-1)
    os.setsid()
    for number, fd in enumerate(_move_up(stdio)):
        os.dup2(fd, number, inheritable=True)
    if launch.tty:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    _close_all_but({0, 1, 2, report})
    for signal_number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(signal_number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    if launch.oom_score_adj:
        _set_oom_score(launch.oom_score_adj)
    if not launch.privileged:
        linux.drop_capabilities(frozenset(launch.capabilities))
    _become_user(launch)
    if launch.no_new_privileges:
        linux.set_no_new_privileges()
    try:
        os.chdir(launch.cwd or "/")
    except OSError as error:
        raise StartError(f'chdir to "{launch.cwd}": {_words(error)}') from error


def _move_up(stdio: tuple[int, int, int]) -> list[int]:
    """Copies above 2, so that one dup2 does not overwrite what the next one needs."""
    return [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in stdio]


def _close_all_but(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _set_oom_score(value: int) -> None:
    # Lowering it needs a privilege that an ordinary user lacks; then it stays as it is.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(value))


def _become_user(launch: Launch) -> None:
    own = (os.geteuid(), os.getegid())
    uid = own[0] if launch.uid is None else launch.uid
    gid = own[1] if launch.gid is None else launch.gid
    if (uid, gid) == own and not launch.groups:
        return
    if own[0] != 0:
        raise StartError(f"cannot run as user {uid}, group {gid}: the runtime is not root")
    os.setgroups(launch.groups)
    os.setgid(gid)
    os.setuid(uid)


def find_program(name: str, path: str) -> str:
    """Where the program `name` is, as execvp would find it; messages are runc's.

    Raises:
        StartError: there is no such program, or it may not be executed.
    """
    if "/" in name:
        try:
            mode = os.stat(name).st_mode
        except OSError as error:
            raise StartError(f'exec: "{name}": stat {name}: {_words(error)}') from error
        if stat.S_ISDIR(mode):
            raise StartError(f'exec: "{name}": is a directory')
        if not os.access(name, os.X_OK):
            raise StartError(f'exec: "{name}": permission denied')
        return name
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{name}"
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise StartError(f'exec: "{name}": executable file not found in $PATH')


def _explain(launch: Launch, error: OSError) -> str:
    what = launch.builtin or (launch.argv[0] if launch.argv else "")
    if error.errno == errno.ENOEXEC:
        return f'exec: "{what}": exec format error'
    return f'exec: "{what}": {_words(error)}'


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
