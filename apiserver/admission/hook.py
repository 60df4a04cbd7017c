"""Admission hooks of users: Python functions, found by entry point.

A package names its hooks in the entry point group `kubraft.admission`. Each is a factory that takes
an AdmissionContext and returns an AdmissionPlugin; the decorators here make one of a function:

    @validating(kinds=["Deployment"])
    def require_team(request, context):
        if "team" not in labels_of(request.obj):
            raise request.forbidden('needs the label "team"')

A hook is somebody else's code, so it is held at arm's length: it works on a copy, has a time
limit, and its defects are reported under its name. docs/admission-hooks.md tells users the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Literal

from apiserver.admission.guard import TIMEOUT_S_DEFAULT, TIMEOUT_S_MAX, GuardedHook
from apiserver.admission.plugin import AdmissionPlugin
from apiserver.admission.request import AdmissionContext, AdmissionRequest, Operation
from apiserver.admission.worker_thread import run_in_thread
from kubraft.log import get_logger

ENTRY_POINT_GROUP: Final = "kubraft.admission"

FailurePolicy = Literal["Fail", "Ignore"]
HookFunction = Callable[[AdmissionRequest, AdmissionContext], Awaitable[None] | None]
HookFactory = Callable[[AdmissionContext], AdmissionPlugin]

_log = get_logger("apiserver.admission")


class HookError(ValueError):
    """A hook cannot be loaded; the message names it, its package's entry point and the cause."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a decorator says about its function."""

    mutates: bool
    name: str
    kinds: Collection[str]
    operations: Collection[str]
    failure_policy: FailurePolicy
    timeout_s: float

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= TIMEOUT_S_MAX:
            raise ValueError(f"timeout_s is {self.timeout_s}, must be in (0, {TIMEOUT_S_MAX:g}]")
        if self.failure_policy not in ("Fail", "Ignore"):
            raise ValueError(f"failure_policy is {self.failure_policy!r}, must be Fail or Ignore")
        for operation in self.operations:
            Operation(operation)

    def decorate(self, function: HookFunction) -> HookFactory:
        """The factory that the entry point names."""
        return lambda context: FunctionHook(function, context, self)


class FunctionHook:
    """A plugin made of one function, which mutates or validates."""

    def __init__(self, function: HookFunction, context: AdmissionContext, options: Options) -> None:
        self.name = options.name or getattr(function, "__name__", "hook")
        self.mutates = options.mutates
        self.failure_policy = options.failure_policy
        self.timeout_s = options.timeout_s
        self._function = function
        self._context = context
        self._kinds = frozenset(options.kinds)
        self._operations = frozenset(Operation(operation) for operation in options.operations)

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.operation in self._operations
            and not request.subresource
            and (not self._kinds or request.gvk.kind in self._kinds)
        )

    async def mutate(self, request: AdmissionRequest) -> None:
        if self.mutates:
            await self._call(request)

    async def validate(self, request: AdmissionRequest) -> None:
        if not self.mutates:
            await self._call(request)

    async def _call(self, request: AdmissionRequest) -> None:
        if inspect.iscoroutinefunction(self._function):
            await self._function(request, self._context)
        else:
            await run_in_thread(lambda: self._function(request, self._context))


def mutating(
    *,
    name: str = "",
    kinds: Collection[str] = (),
    operations: Collection[str] = ("CREATE", "UPDATE"),
    failure_policy: FailurePolicy = "Fail",
    timeout_s: float = TIMEOUT_S_DEFAULT,
) -> Callable[[HookFunction], HookFactory]:
    """Make a hook of a function that changes `request.obj` or refuses it.

    Args:
        name: how messages name the hook; the function's name by default.
        kinds: which kinds it is called for, as in `kind:`; all where empty.
        operations: of CREATE, UPDATE and DELETE.
        failure_policy: whether the request fails or goes on when the hook itself fails.
        timeout_s: how long it may take, at most 30 s. A plain function runs in a thread of its
            own, so that it may block; a coroutine function may not.
    """
    options = Options(True, name, kinds, operations, failure_policy, timeout_s)
    return options.decorate


def validating(
    *,
    name: str = "",
    kinds: Collection[str] = (),
    operations: Collection[str] = ("CREATE", "UPDATE"),
    failure_policy: FailurePolicy = "Fail",
    timeout_s: float = TIMEOUT_S_DEFAULT,
) -> Callable[[HookFunction], HookFactory]:
    """Make a hook of a function that refuses `request` or lets it pass; see `mutating`."""
    options = Options(False, name, kinds, operations, failure_policy, timeout_s)
    return options.decorate


def load_hooks(
    context: AdmissionContext, found: Iterable[EntryPoint] | None = None
) -> list[AdmissionPlugin]:
    """All installed hooks, guarded, in the order of their entry points' names.

    Raises:
        HookError: a hook cannot be imported or made. An API server that let writes pass without
            a hook that somebody relies on would be worse than one that does not start.
    """
    points = entry_points(group=ENTRY_POINT_GROUP) if found is None else found
    hooks = [_load(point, context) for point in sorted(points, key=lambda p: (p.name, p.value))]
    if hooks:
        _log.info("admission_hooks_loaded", hooks=",".join(hook.name for hook in hooks))
    return hooks


def _load(point: EntryPoint, context: AdmissionContext) -> AdmissionPlugin:
    where = f"admission hook {point.name} ({point.value})"
    try:
        plugin = point.load()(context)
    except Exception as error:
        raise HookError(f"{where}: {type(error).__name__}: {error}") from error
    missing = [m for m in ("name", "handles", "mutate", "validate") if not hasattr(plugin, m)]
    if missing:
        raise HookError(f"{where}: the plugin lacks {', '.join(missing)}")
    return GuardedHook(plugin)
