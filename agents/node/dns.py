"""What a Pod's /etc/resolv.conf says: the cluster's servers, the host's, or the Pod's own. Pure.

Source: Kubernetes documentation, "DNS for Services and Pods"; upstream's limits and event texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubraft.api.object import Object

_SERVERS_MAX = 3
_SEARCHES_MAX = 32
_SEARCH_CHARS_MAX = 2048
_NAME_CHARS_MAX = 253
_CLUSTER_OPTIONS = ("ndots:5",)


@dataclass(frozen=True, slots=True)
class Resolver:
    """The content of a resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """What the node was told of the cluster's names: --cluster-dns and --cluster-domain."""

    servers: tuple[str, ...] = ()
    domain: str = ""


@dataclass(frozen=True, slots=True)
class PodDns:
    """A Pod's resolver, and the Warning events (reason, message) that belong to it."""

    resolver: Resolver
    warnings: tuple[tuple[str, str], ...] = ()


def parse_resolv_conf(text: str) -> Resolver:
    """Read a resolv.conf: servers add up, of searches and options the last line counts."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *names]:
                searches = [name.removesuffix(".") for name in names]
            case ["options", *names]:
                options = names
    return Resolver(tuple(servers), tuple(searches), tuple(options))


def pod_dns(pod: Object, cluster: ClusterDns, host: Resolver) -> PodDns:
    """The resolver of `pod` on a node whose own one is `host`."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    warnings: list[tuple[str, str]] = []
    base = host
    if policy == "None":
        base = Resolver()
    elif policy != "Default":
        if cluster.servers:
            names = _cluster_searches(pod, cluster.domain)
            base = Resolver(cluster.servers, _once((*names, *host.searches)), _CLUSTER_OPTIONS)
        else:
            warnings.append(("MissingClusterDNS", _missing(pod)))
    own = spec.get("dnsConfig")
    if own:
        base = Resolver(
            _once((*base.servers, *(own.get("nameservers") or ()))),
            _once((*base.searches, *(own.get("searches") or ()))),
            _merged(base.options, own.get("options") or ()),
        )
    return PodDns(_within_limits(base, warnings), tuple(warnings))


def _cluster_searches(pod: Object, domain: str) -> tuple[str, ...]:
    if not domain:
        return ()
    return (f"{pod['metadata']['namespace']}.svc.{domain}", f"svc.{domain}", domain)


def _missing(pod: Object) -> str:
    metadata = pod["metadata"]
    name = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
    return (
        f'pod: "{name}". kubelet does not have ClusterDNS IP configured and cannot create Pod '
        'using "ClusterFirst" policy. Falling back to "Default" policy.'
    )


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _merged(options: Iterable[str], own: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The Pod's options replace those of the same name."""
    values: dict[str, str] = {}
    for option in options:
        name, _colon, value = option.partition(":")
        values[name] = value
    for entry in own:
        values[entry["name"]] = entry.get("value") or ""
    return tuple(f"{name}:{value}" if value else name for name, value in values.items())


def _within_limits(resolver: Resolver, warnings: list[tuple[str, str]]) -> Resolver:
    servers = resolver.servers[:_SERVERS_MAX]
    if servers != resolver.servers:
        text = (
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {' '.join(servers)}"
        )
        warnings.append(("DNSConfigForming", text))
    searches = [n for n in resolver.searches[:_SEARCHES_MAX] if len(n) <= _NAME_CHARS_MAX]
    while len(" ".join(searches)) > _SEARCH_CHARS_MAX:
        searches.pop()
    if len(searches) != len(resolver.searches):
        text = (
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(searches)}"
        )
        warnings.append(("DNSConfigForming", text))
    return Resolver(servers, tuple(searches), resolver.options)
