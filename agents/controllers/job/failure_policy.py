"""What a Pod's failure means, by the rules of `spec.podFailurePolicy`.

Source: Kubernetes documentation, "Pod failure policy"; messages of upstream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.controllers.job.reading import is_failed
from kubraft.api.conditions import conditions_of
from kubraft.api.object import Object, key_of


@dataclass(frozen=True, slots=True)
class Judgement:
    """`action` of the first rule that matches, "Count" without one; `message` of FailJob."""

    action: str = "Count"
    message: str = ""

    @property
    def counts(self) -> bool:
        """Whether the failure counts towards the limits."""
        return self.action != "Ignore"


def judge(job: Object, pod: Object) -> Judgement:
    """What the failure of `pod` means."""
    policy = job["spec"].get("podFailurePolicy") or {}
    for index, rule in enumerate(policy.get("rules") or ()):
        cause = _cause(rule, pod)
        if cause:
            action = rule["action"]
            return Judgement(action, f"{cause} matching {action} rule at index {index}")
    return Judgement()


def reason_to_fail(job: Object, pods: Iterable[Object]) -> str:
    """Why a Pod's failure fails the whole Job; empty where none does."""
    if not job["spec"].get("podFailurePolicy"):
        return ""
    for pod in pods:
        if is_failed(pod, job) and (judgement := judge(job, pod)).action == "FailJob":
            return judgement.message
    return ""


def _cause(rule: Mapping[str, Any], pod: Object) -> str:
    """How the rule matches, as a message begins; empty where it does not."""
    if codes := rule.get("onExitCodes"):
        return _exit_cause(codes, pod)
    for wanted in rule.get("onPodConditions") or ():
        for condition in conditions_of(pod):
            same = condition.get("status") == (wanted.get("status") or "True")
            if condition.get("type") == wanted["type"] and same:
                return f"Pod {key_of(pod)} has condition {wanted['type']}"
    return ""


def _exit_cause(rule: Mapping[str, Any], pod: Object) -> str:
    status = pod.get("status") or {}
    only, values = rule.get("containerName"), rule.get("values") or ()
    for part in ("containerStatuses", "initContainerStatuses"):
        for container in status.get(part) or ():
            terminated = (container.get("state") or {}).get("terminated")
            if not terminated or only not in (None, container["name"]):
                continue
            code = terminated.get("exitCode", 0)
            if code != 0 and (code in values) == (rule.get("operator") == "In"):
                name = container["name"]
                return f"Container {name} for pod {key_of(pod)} failed with exit code {code}"
    return ""
