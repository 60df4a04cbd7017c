"""A Pod's names: its host name, its domain, and the /etc/hosts that its containers share. Pure.

Source: Kubernetes documentation, "Adding entries to Pod /etc/hosts", "DNS for Services and Pods".
"""

from __future__ import annotations

from typing import Any

from kubraft.api.object import Object

HOSTS_PATH = "/etc/hosts"
_HOST_NAME_CHARS_MAX = 63
_FQDN_CHARS_MAX = 64
_HEAD = "# Kubernetes-managed hosts file.\n"
_HOST_NETWORK_HEAD = "# Kubernetes-managed hosts file (host network).\n"
_LOCAL = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("fe00::0", "ip6-mcastprefix"),
    ("fe00::1", "ip6-allnodes"),
    ("fe00::2", "ip6-allrouters"),
)


class HostNameError(Exception):
    """A Pod cannot have the name that it asks for; the message is upstream's."""


def pod_names(pod: Object, cluster_domain: str) -> tuple[str, str]:
    """A Pod's host name and domain; the domain is "" where it has none."""
    metadata, spec = pod["metadata"], pod["spec"]
    if override := spec.get("hostnameOverride"):
        return str(override), ""
    name = spec.get("hostname") or metadata["name"]
    name = name[:_HOST_NAME_CHARS_MAX].rstrip("-.")
    if not spec.get("subdomain"):
        return name, ""
    return name, f"{spec['subdomain']}.{metadata['namespace']}.svc.{cluster_domain}"


def kernel_host_name(pod: Object, cluster_domain: str) -> str:
    """What `hostname` prints inside: the name alone, or with the domain if the Pod asks for it.

    Raises:
        HostNameError: that would be too long.
    """
    name, domain = pod_names(pod, cluster_domain)
    if not pod["spec"].get("setHostnameAsFQDN") or not domain:
        return name
    full = f"{name}.{domain}"
    if len(full) > _FQDN_CHARS_MAX:
        raise HostNameError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too "
            f"long ({_FQDN_CHARS_MAX} characters is the max, {len(full)} characters requested)"
        )
    return full


def hosts_text(pod: Object, addresses: tuple[str, ...], cluster_domain: str, host: str) -> str:
    """The content of /etc/hosts.

    Args:
        pod: whose.
        addresses: the Pod's.
        cluster_domain: e.g. cluster.local.
        host: the node's own file, for Pods in the host's network.
    """
    aliases = _aliases(pod["spec"].get("hostAliases") or ())
    if pod["spec"].get("hostNetwork"):
        return _HOST_NETWORK_HEAD + host + aliases
    name, domain = pod_names(pod, cluster_domain)
    lines = [f"{address}\t{names}\n" for address, names in _LOCAL]
    own = f"{name}.{domain}\t{name}" if domain else name
    lines += [f"{address}\t{own}\n" for address in addresses if address]
    return _HEAD + "".join(lines) + aliases


def _aliases(entries: Any) -> str:
    if not entries:
        return ""
    lines = [f"{e['ip']}\t" + "\t".join(e.get("hostnames") or ()) + "\n" for e in entries]
    return "\n# Entries added by HostAliases.\n" + "".join(lines)
