"""Admission: plugins that complete and judge a write after authorization, before storage."""

from apiserver.admission.chain import AdmissionChain, build_chain
from apiserver.admission.hook import HookError, load_hooks, mutating, validating
from apiserver.admission.plugin import AdmissionPlugin, Plugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation

__all__ = [
    "AdmissionChain",
    "AdmissionContext",
    "AdmissionPlugin",
    "AdmissionRequest",
    "HookError",
    "Operation",
    "Plugin",
    "build_chain",
    "load_hooks",
    "mutating",
    "validating",
]
