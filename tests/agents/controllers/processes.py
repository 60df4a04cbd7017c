"""Real controller managers beside a real API server on a real etcd."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.harness.api import ApiUnderTest, ProcessUnderTest, running_api

# The local profile, with a Lease that is short enough for a test to see it change hands.
MANAGER_FLAGS = (
    "--node-monitor-period=500ms",
    "--node-monitor-grace-period=4s",
    "--pod-eviction-timeout=3s",
    "--node-eviction-rate=10",
    "--leader-elect-lease-duration=3s",
    "--leader-elect-renew-deadline=2s",
    "--leader-elect-retry-period=400ms",
)


class Manager(ProcessUnderTest):
    """One controller manager."""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_for(self, text: str, timeout_s: float = 30.0) -> None:
        """Return once the log has `text`."""
        deadline = time.monotonic() + timeout_s
        while text not in self.log():
            assert self.is_running, f"{self.name} ended:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self.name} never said {text}:\n{self.log()}"
            time.sleep(0.02)

    def wait_leading(self, timeout_s: float = 30.0) -> None:
        """Return once this manager leads: at last, or again after it has lost its Lease."""
        deadline = time.monotonic() + timeout_s
        while (log := self.log()).rfind("event=leading") <= log.rfind("event=leadership_lost"):
            assert self.is_running, f"{self.name} ended:\n{log}"
            assert time.monotonic() < deadline, f"{self.name} does not lead:\n{log}"
            time.sleep(0.02)

    def wait_end(self, timeout_s: float = 20.0) -> int:
        """The exit status of a process that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def cpu_s(self) -> float:
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


@dataclass
class ControlPlane:
    """The API server and every manager that a test started; all end with the tests."""

    api: ApiUnderTest
    managers: list[Manager] = field(default_factory=list)
    shared_manager: Manager | None = None

    def start_manager(self, identity: str, *flags: str) -> Manager:
        root_ca = f"--root-ca-file={self.api.pki / 'ca.crt'}"
        command = [
            "agents.controllers",
            *self.api.agent_flags("controller-manager"),
            f"--identity={identity}",
            root_ca,
            f"--service-account-private-key-file={self.api.pki / 'sa.key'}",
            f"--cluster-signing-cert-file={self.api.pki / 'ca.crt'}",
            f"--cluster-signing-key-file={self.api.pki / 'ca.key'}",
            *MANAGER_FLAGS,
            *flags,
        ]
        # A log of its own for each start.
        manager = Manager(f"{identity}-{len(self.managers)}", command, self.api.folder)
        self.managers.append(manager)
        manager.start()
        return manager

    def kill_managers(self, *, but: Manager | None = None) -> None:
        for manager in self.managers:
            if manager is not but:
                manager.kill()

    def etcd(self) -> psutil.Process:
        """The store of this control plane."""
        folder = str(self.api.folder)
        return next(
            child
            for child in psutil.Process().children()
            if any(part.startswith(folder) for part in child.cmdline())
            and "etcd" in Path(child.cmdline()[0]).name
        )


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """An API server that is ready; managers are started by the tests."""
    with running_api(folder) as api:
        plane = ControlPlane(api)
        try:
            yield plane
        finally:
            plane.kill_managers()
