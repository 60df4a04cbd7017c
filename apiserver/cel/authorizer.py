"""The `authorizer` of CEL: questions to authorization, asked step by step.

`authorizer.group("apps").resource("deployments").namespace("x").check("create").allowed()`; each
step is a map, as the evaluator knows no other values of ours.

Source: Kubernetes documentation, "Kubernetes authorizer library".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from cel_expr_python import cel

# Decides a check; the map has user ("" or a ServiceAccount), path or group, resource and so on.
Check = Callable[[Mapping[str, str], str], tuple[bool, str]]

_T: Final = cel.Type
_check: ContextVar[Check | None] = ContextVar("check", default=None)


@contextmanager
def deciding(check: Check) -> Iterator[None]:
    """Checks of programs that are evaluated here are decided by `check`."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def _with(field: str) -> Callable[[Any, Any], dict[str, Any]]:
    def step(asked: Any, value: Any) -> dict[str, Any]:
        return {**_plain(asked), field: value}

    return step


def _plain(value: Any) -> dict[str, Any]:
    return {str(k): v.plain_value() if hasattr(v, "plain_value") else v for k, v in value.items()}


def _decided(asked: Any, verb: str) -> dict[str, Any]:
    check = _check.get()
    if check is None:
        return {"allowed": False, "reason": "", "error": "there is no authorizer"}
    allowed, reason = check(_plain(asked), verb)
    return {"allowed": allowed, "reason": reason, "error": ""}


def _account(asked: Any, namespace: str, name: str) -> dict[str, Any]:
    return {**_plain(asked), "account": f"system:serviceaccount:{namespace}:{name}"}


_MAP: Final = _T.MAP
AUTHORIZER: Final[
    tuple[tuple[str, bool, tuple[cel.Type, ...], cel.Type, Callable[..., Any]], ...]
] = (
    *(
        (field, True, (_MAP, _T.STRING), _T.DYN, _with(field))
        for field in ("path", "group", "resource", "subresource", "namespace", "name")
    ),
    ("serviceAccount", True, (_MAP, _T.STRING, _T.STRING), _T.DYN, _account),
    ("check", True, (_MAP, _T.STRING), _T.DYN, _decided),
    ("allowed", True, (_MAP,), _T.BOOL, lambda made: bool(_plain(made)["allowed"])),
    ("reason", True, (_MAP,), _T.STRING, lambda made: _plain(made)["reason"]),
    ("errored", True, (_MAP,), _T.BOOL, lambda made: bool(_plain(made)["error"])),
    ("error", True, (_MAP,), _T.STRING, lambda made: _plain(made)["error"]),
)
