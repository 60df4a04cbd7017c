"""What the containerd runtime needs of this machine, and what to say where it is not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Where programs are that an ordinary user's PATH may lack.
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CNI_DIRECTORIES: Final = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
CNI_PLUGINS: Final = ("bridge", "host-local", "loopback", "portmap")
# Program -> the Debian package that has it.
_PACKAGES: Final = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
}
_CNI_PACKAGE: Final = "containernetworking-plugins"


class MissingProgramsError(Exception):
    """This machine cannot run containerd; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class ContainerdPrograms:
    """Where they are."""

    paths: dict[str, str]
    cni: str

    def __getitem__(self, name: str) -> str:
        return self.paths[name]


def find_program(name: str) -> str | None:
    """A program of the system, by PATH and then where systems keep theirs."""
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_PATH)


def _find_cni() -> str | None:
    for folder in CNI_DIRECTORIES:
        if all((Path(folder) / plugin).is_file() for plugin in CNI_PLUGINS):
            return folder
    return None


def containerd_programs(
    find: Callable[[str], str | None] = find_program,
    find_cni: Callable[[], str | None] = _find_cni,
    user_id: Callable[[], int] = os.geteuid,
) -> ContainerdPrograms:
    """All that is needed.

    Raises:
        MissingProgramsError: with what is missing and what to install.
    """
    if user_id() != 0:
        raise MissingProgramsError(
            "the containerd runtime needs root (namespaces, cgroups and a bridge): run it as root, "
            "or leave --runtime away for the process runtime"
        )
    found = {name: find(name) for name in _PACKAGES}
    cni = find_cni()
    missing = [name for name, path in found.items() if path is None]
    packages = {_PACKAGES[name] for name in missing}
    if cni is None:
        missing.append("the CNI plugins " + ", ".join(CNI_PLUGINS))
        packages.add(_CNI_PACKAGE)
    if cni is None or missing:
        raise MissingProgramsError(
            f"the containerd runtime needs {', '.join(missing)}: "
            f"apt-get install {' '.join(sorted(packages))}"
        )
    return ContainerdPrograms({name: path for name, path in found.items() if path}, cni)
