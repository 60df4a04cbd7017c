"""A cluster's home directory: where its files are, and the mark that says that it is ours.

The home is `$KUBRAFT_HOME` or `.kubraft`. `cluster.json` marks it as ours: only a directory that
has one is ever removed, and a directory with other things in it is never taken over.

    .kubraft/cluster.json        this cluster: token, members, ports, nodes
             pki/ logs/ data/    keys and certificates; NAME.log; a data directory a process
             run/                sockets
             admin.kubeconfig admin.token tokens.csv encryption.yaml supervisor.pid
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from kubraft.cluster_config import ClusterConfig

FREE_BYTES_MIN: Final = 64 << 20
# In the data directory of each member: whose it is.
MARK_FILE: Final = "cluster-token"

# sun_path holds 108 bytes; what is longer moves to the temporary directory.
_SOCKET_PATH_MAX: Final = 100


class HomeError(Exception):
    """The home directory is not usable as asked; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a cluster's files are; `path` may be relative, as the user gave it."""

    path: Path

    @classmethod
    def from_environment(cls) -> Self:
        """`$KUBRAFT_HOME`, or `.kubraft` in the current directory."""
        return cls(Path(os.environ.get("KUBRAFT_HOME") or ".kubraft"))

    @property
    def cluster_file(self) -> Path:
        return self.path / "cluster.json"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def kubeconfig(self) -> Path:
        return self.path / "admin.kubeconfig"

    @property
    def token_file(self) -> Path:
        return self.path / "admin.token"

    @property
    def token_auth_file(self) -> Path:
        """The apiserver's table of static tokens: token,user,uid,"groups"."""
        return self.path / "tokens.csv"

    @property
    def encryption_config(self) -> Path:
        """How the apiserver keeps Secrets; holds the key, so a home without it cannot read them."""
        return self.path / "encryption.yaml"

    @property
    def scheduler_config(self) -> Path:
        """A KubeSchedulerConfiguration of the user's own, where there is one."""
        return self.path / "scheduler.yaml"

    @property
    def pid_file(self) -> Path:
        return self.path / "supervisor.pid"

    @property
    def run(self) -> Path:
        """Where sockets are: in the home, or elsewhere where its path is too long for a socket."""
        inside = self.path.absolute() / "run"
        if len(os.fsencode(inside)) + len("/controller-manager-0.sock") <= _SOCKET_PATH_MAX:
            return inside
        digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"kubraft-{os.getuid()}-{digest}"

    @property
    def control_socket(self) -> Path:
        return self.run / "supervisor.sock"

    def socket(self, name: str) -> Path:
        return self.run / f"{name}.sock"

    def data(self, name: str) -> Path:
        return self.path / "data" / name

    def has_data(self) -> bool:
        """Whether a member of the store has ever kept anything here."""
        folders = (self.path / "data").glob("store-*")
        return any(file.name != MARK_FILE for folder in folders for file in folder.iterdir())

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def find_cluster(self) -> ClusterConfig | None:
        """What `cluster.json` says, `None` where there is none.

        Raises:
            HomeError: the file cannot be read or is not ours.
        """
        try:
            return ClusterConfig.from_json(self.cluster_file.read_text())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise HomeError(f"cannot read {self.cluster_file}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise HomeError(
                f"{self.cluster_file} is not a cluster's description: {error}"
            ) from error

    def get_cluster(self) -> ClusterConfig:
        """What `cluster.json` says.

        Raises:
            HomeError: no cluster was ever started here.
        """
        cluster = self.find_cluster()
        if cluster is None:
            raise HomeError(f"no cluster in {self.path}: `make up` starts one")
        return cluster

    def prepare(self, cluster: ClusterConfig) -> None:
        """Make the directories, private to the user, and write `cluster.json`.

        Raises:
            HomeError: the directory belongs to something else, or cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.cluster_file.exists() and any(self.path.iterdir()):
                raise HomeError(
                    f"{self.path} is not empty and has no {self.cluster_file.name}: "
                    "not a cluster's directory, so it is left alone"
                )
            self._check_space()
            for folder in (self.pki, self.logs, self.path / "data", self.run):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._check_run()
            for member in cluster.members:
                self._claim(self.data(member.name), cluster.token)
            for node in cluster.nodes:
                for name in (node.name, node.runtime_name):
                    self._claim(self.data(name), cluster.token)
            write_private(self.cluster_file, cluster.to_json())
        except OSError as error:
            message = f"cannot write {error.filename or self.path}: {error.strerror}"
            raise HomeError(message) from error

    def remove(self) -> None:
        """Remove the cluster's directory with all its data.

        Raises:
            HomeError: it does not carry our mark, or cannot be removed.
        """
        self.get_cluster()
        try:
            if self.run.parent != self.path.absolute() and self.run.exists():
                self._check_run()
                shutil.rmtree(self.run)
            shutil.rmtree(self.path)
        except OSError as error:
            raise HomeError(f"cannot remove {error.filename}: {error.strerror}") from error

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < FREE_BYTES_MIN:
            raise HomeError(
                f"disk full: {free >> 20} MiB are free for {self.path}, "
                f"{FREE_BYTES_MIN >> 20} MiB are needed"
            )

    def _check_run(self) -> None:
        found = self.run.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise HomeError(f"{self.run} is not a directory of this user's alone")

    def _claim(self, data: Path, token: str) -> None:
        """Put the cluster's token into a data directory, or refuse one with another token."""
        mark = data / MARK_FILE
        if data.exists() and any(data.iterdir()):
            try:
                found = mark.read_text().strip()
            except FileNotFoundError:
                found = "unknown"
            if found != token:
                raise HomeError(
                    f"{data} is of another cluster ({found}, this one is {token}): "
                    "move it away, or `make clean`"
                )
            return
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(mark, token + "\n")


def write_private(path: Path, content: str | bytes) -> None:
    """Replace `path` at once by a file that only the user may read, durably.

    Raises:
        OSError: as the file system says; `path` is then as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
