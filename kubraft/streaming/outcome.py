"""How a command ended, as its client is told on the error stream.

Source: Kubernetes API reference, Status; `k8s.io/apimachinery` remotecommand: NonZeroExitCode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: `failure` says why there is no exit code, "" where there is one."""

    code: int = 0
    failure: str = ""
    command: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """For people; "" where all is well."""
        if self.failure:
            return f"Internal error occurred: {self.failure}"
        if not self.code:
            return ""
        return (
            "command terminated with non-zero exit code: error executing command "
            f"[{' '.join(self.command)}], exit code {self.code}"
        )

    def status(self) -> bytes:
        """A Status, as JSON."""
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if self.message:
            status = {"metadata": {}, "status": "Failure", "message": self.message}
        if self.failure:
            causes = [{"message": self.failure}]
            status |= {"reason": "InternalError", "details": {"causes": causes}, "code": 500}
        elif self.code:
            causes = [{"reason": "ExitCode", "message": str(self.code)}]
            status |= {"reason": "NonZeroExitCode", "details": {"causes": causes}}
        return orjson.dumps(status)

    def said(self, *, has_status: bool) -> bytes:
        """What goes on the error stream: a Status, or its text in old protocols."""
        return self.status() if has_status else self.message.encode()
