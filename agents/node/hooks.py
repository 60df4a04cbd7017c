"""Lifecycle hooks: how one is run, and what is said when it fails. Texts are upstream's.

Source: Kubernetes documentation, "Container Lifecycle Hooks".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.node.probe import Outcome
from agents.node.probe_handlers import Execute, http_answer
from kubraft.api.object import Object
from kubraft.api.time import Clock


async def run_hook(
    hook: Mapping[str, Any],
    container: Mapping[str, Any],
    pod: Object,
    address: str,
    timeout_s: float,
    *,
    execute: Execute,
    clock: Clock,
) -> str:
    """Run a LifecycleHandler to its end; returns why it failed, or "".

    A server that answers has been told, whatever it answers.
    """
    metadata = pod["metadata"]
    name = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
    where = f'for Container "{container["name"]}" in Pod "{name}" failed - error: '
    if "exec" in hook:
        command = hook["exec"].get("command") or []
        words = " ".join(command)
        try:
            code, output = await execute(command, timeout_s)
        except (TimeoutError, OSError) as error:
            cause = str(error) or f"command '{words}' timed out"
            return f'Exec lifecycle hook ([{words}]) {where}{cause}, message: ""'
        if code == 0:
            return ""
        cause = f"command '{words}' exited with {code}: {output}"
        return f'Exec lifecycle hook ([{words}]) {where}{cause}, message: "{output}"'
    if "httpGet" in hook:
        try:
            answer = await http_answer(hook["httpGet"], container, address, timeout_s)
        except ValueError as error:
            answer = Outcome(False, str(error))
        if not isinstance(answer, Outcome):
            return ""
        path = hook["httpGet"].get("path") or "/"
        return f"HTTP lifecycle hook ({path}) {where}{answer.message}"
    if "sleep" in hook:
        await clock.sleep(min(timeout_s, float(hook["sleep"].get("seconds") or 0)))
        return ""
    return f"Cannot run handler: invalid handler: {', '.join(hook)}"
