"""`kubraft-kube-apiserver`: stands in for `kube-apiserver` where a harness starts it.

Reads the command line (envtest's is tested): what this server knows goes on to it, what means
nothing here is passed over, what somebody would miss is refused by name, and so is what nobody
knows. Serves HTTPS only.
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from apiserver import serving_certificate
from apiserver.options import make_parser
from kubraft.health.front import VERSION

CERT_DIR: Final = "/var/run/kubernetes"
BIND_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - kube-apiserver's default

# Flags of kube-apiserver that have no effect, with the values that they may have ("*": any).
# Source: kube-apiserver --help, 1.18 to 1.37; controller-runtime, pkg/internal/testing.
PASSED_OVER: Final[Mapping[str, tuple[str, ...]]] = {
    "allow-privileged": ("*",),  # no Pod runs here
    "apiserver-count": ("*",),
    "enable-aggregator-routing": ("false",),
    "enable-garbage-collector": ("*",),
    "enable-logs-handler": ("*",),
    "enable-priority-and-fairness": ("*",),
    "etcd-compaction-interval": ("*",),
    "etcd-prefix": ("/registry",),
    "event-ttl": ("1h", "1h0m0s"),
    "insecure-port": ("0",),
    "kubelet-preferred-address-types": ("*",),
    "kubelet-timeout": ("*",),
    "profiling": ("false",),
    "request-timeout": ("*",),
    "service-node-port-range": ("30000-32767",),
    "shutdown-delay-duration": ("0", "0s"),
    "storage-backend": ("etcd3",),
    "storage-media-type": ("application/json", "application/vnd.kubernetes.protobuf"),
    "v": ("*",),
    "watch-cache": ("*",),
}
_SWITCHES: Final = frozenset(
    (
        *("allow-privileged", "anonymous-auth", "enable-aggregator-routing"),
        *("enable-bootstrap-token-auth", "enable-garbage-collector", "enable-logs-handler"),
        *("enable-priority-and-fairness", "profiling", "watch-cache"),
        "encryption-provider-config-automatic-reload",
    )
)
_AUTHORIZERS: Final = frozenset(("Node", "RBAC"))
# Said once more when given more than once.
_REPEATED: Final = frozenset(("service-account-key-file", "service-account-issuer"))
# Given more than once, their parts count together.
_JOINED: Final = frozenset(("runtime-config",))
# Of this server, and of no use to who starts kube-apiserver.
_NOT_OFFERED: Final = frozenset(("help", "grpc-port", "grpc-mtls-port", "identity"))


class FlagError(ValueError):
    """A command line that cannot be carried out; the text is one line."""


def known() -> list[str]:
    """All flags that are read, in order."""
    own = [
        option.removeprefix("--")
        for action in make_parser()._actions  # noqa: SLF001 - argparse has no other way
        for option in action.option_strings
        if option.startswith("--")
    ]
    read = {*own, *PASSED_OVER, "authorization-mode", "cert-dir"}
    return sorted(read - _NOT_OFFERED)


def translated(arguments: Sequence[str], now: dt.datetime) -> list[str]:
    """The command line of `python -m apiserver`; makes a serving certificate where there is none.

    Raises:
        FlagError: a flag is unknown, or asks for what is not offered.
        OSError: --cert-dir cannot be written.
    """
    given: dict[str, list[str]] = {}
    for name, value in _pairs(arguments, frozenset(known())):
        given.setdefault(name, []).append(value)
    directory = Path(given.pop("cert-dir", [CERT_DIR])[-1])
    given.setdefault("bind-address", [BIND_ADDRESS])
    if "tls-cert-file" not in given:
        files = serving_certificate.ensure(directory, given["bind-address"][-1], now)
        given["tls-cert-file"], given["tls-private-key-file"] = ([str(file)] for file in files)
    # Without an authority of clients no certificate proves anything but this server's own.
    given.setdefault("client-ca-file", given["tls-cert-file"])
    _check_authorizers(",".join(given.pop("authorization-mode", [])))
    own = ["--grpc-port=0", "--grpc-mtls-port=0"]
    for name, values in given.items():
        if name in PASSED_OVER:
            _check_passed_over(name, values[-1])
        elif name in _JOINED:
            own.append(f"--{name}={','.join(values)}")
        else:
            own += [f"--{name}={value}" for value in (values if name in _REPEATED else values[-1:])]
    return own


def usage() -> str:
    """What --help writes; envtest looks in it for flags that its version must or must not set."""
    lines = ["Usage:", "  kube-apiserver [flags]", "", "Flags:"]
    for name in known():
        note = ""
        if name in PASSED_OVER:
            taken = "/".join(PASSED_OVER[name])
            note = "has no effect" if taken == "*" else f"has no effect, must be {taken}"
        # 1.24 and later do not have it, and who sees it sets it.
        if name != "insecure-port":
            lines.append(f"      --{name}   {note}".rstrip())
    return "\n".join(lines) + "\n"


def _pairs(arguments: Sequence[str], names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Names and values as Go's flags are written: --name=value, --name value, and --switch."""
    left = iter(arguments)
    for argument in left:
        if not argument.startswith("-") or argument in ("-", "--"):
            raise FlagError(f'unknown command "{argument}" for "kube-apiserver"')
        name, equals, value = argument.lstrip("-").partition("=")
        name = name.replace("_", "-")
        if name not in names:
            raise FlagError(f"unknown flag: --{name}")
        if not equals and name in _SWITCHES:
            value = "true"
        elif not equals:
            following = next(left, None)
            if following is None:
                raise FlagError(f"flag needs an argument: --{name}")
            value = following
        yield name, value


def _check_passed_over(name: str, value: str) -> None:
    taken = PASSED_OVER[name]
    if taken != ("*",) and value not in taken:
        raise FlagError(f"--{name}={value} is not offered here; it must be {' or '.join(taken)}")


def _check_authorizers(text: str) -> None:
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name not in _AUTHORIZERS:
            raise FlagError(f"--authorization-mode: {name} is not offered here")


def main() -> int:
    """The process; its exit status."""
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(usage())
        return 0
    if any(argument in ("--version", "--version=true") for argument in arguments):
        sys.stdout.write(f"Kubernetes {VERSION['gitVersion']}\n")
        return 0
    try:
        own = translated(arguments, dt.datetime.now(dt.UTC))
    except (FlagError, OSError) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    from apiserver.__main__ import main as serve  # noqa: PLC0415 - a wrong flag is told before

    return serve(own)


if __name__ == "__main__":
    sys.exit(main())
