"""A Pod's resolver and names, by the rules of the kubelet."""

from __future__ import annotations

import pytest

from agents.node.dns import ClusterDns, Resolver, parse_resolv_conf, pod_dns
from agents.node.hosts_file import HostNameError, hosts_text, kernel_host_name, pod_names
from kubraft.api.object import Object
from tests.agents.node.pods import pod

NODE = parse_resolv_conf(
    "# ours\nnameserver 192.0.2.1\nsearch example.com. lab\noptions timeout:1 rotate\n"
)
CLUSTER = ClusterDns(("10.96.0.10",), "cluster.local")
CLUSTER_SEARCHES = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")


def test_a_resolv_conf_is_read_as_the_c_library_reads_it() -> None:
    assert Resolver(("192.0.2.1",), ("example.com", "lab"), ("timeout:1", "rotate")) == NODE


@pytest.mark.parametrize(
    ("spec", "servers", "searches", "options"),
    [
        pytest.param(
            {"dnsPolicy": "ClusterFirst"},
            ("10.96.0.10",),
            (*CLUSTER_SEARCHES, "example.com", "lab"),
            ("ndots:5",),
            id="the cluster's",
        ),
        pytest.param(
            {"dnsPolicy": "ClusterFirst", "hostNetwork": True},
            NODE.servers,
            NODE.searches,
            NODE.options,
            id="the host's, in its network",
        ),
        pytest.param(
            {"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True},
            ("10.96.0.10",),
            (*CLUSTER_SEARCHES, "example.com", "lab"),
            ("ndots:5",),
            id="the cluster's, in the host's network",
        ),
        pytest.param(
            {"dnsPolicy": "Default"},
            NODE.servers,
            NODE.searches,
            NODE.options,
            id="the host's",
        ),
        pytest.param(
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["192.0.2.9"],
                    "searches": ["a.b"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            ("192.0.2.9",),
            ("a.b",),
            ("ndots:2", "edns0"),
            id="its own",
        ),
        pytest.param(
            {
                "dnsConfig": {
                    "nameservers": ["10.96.0.10", "192.0.2.9"],
                    "searches": ["cluster.local", "a.b"],
                    "options": [{"name": "ndots", "value": "1"}],
                }
            },
            ("10.96.0.10", "192.0.2.9"),
            (*CLUSTER_SEARCHES, "example.com", "lab", "a.b"),
            ("ndots:1",),
            id="both, nothing twice",
        ),
    ],
)
def test_whom_a_pod_asks(
    spec: Object, servers: tuple[str, ...], searches: tuple[str, ...], options: tuple[str, ...]
) -> None:
    found = pod_dns(pod(**spec), CLUSTER, NODE)
    assert found.resolver == Resolver(servers, searches, options)
    assert found.warnings == ()


def test_without_a_cluster_server_the_hosts_is_used_and_said() -> None:
    found = pod_dns(pod(), ClusterDns(), NODE)
    assert found.resolver == NODE
    ((reason, text),) = found.warnings
    assert reason == "MissingClusterDNS"
    assert text.startswith('pod: "p_default(u)". kubelet does not have ClusterDNS IP configured')


def test_what_no_resolver_would_read_is_left_out_and_said() -> None:
    config = {
        "nameservers": [f"192.0.2.{n}" for n in range(5)],
        "searches": [f"{n}.{'x' * 90}.test" for n in range(40)],
    }
    found = pod_dns(pod(dnsPolicy="None", dnsConfig=config), CLUSTER, NODE)
    assert found.resolver.servers == ("192.0.2.0", "192.0.2.1", "192.0.2.2")
    assert len(" ".join(found.resolver.searches)) <= 2048
    assert [reason for reason, _ in found.warnings] == ["DNSConfigForming"] * 2
    assert found.warnings[0][1].endswith("line is: 192.0.2.0 192.0.2.1 192.0.2.2")


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        pytest.param({}, ("p", ""), id="the Pod's"),
        pytest.param({"hostname": "h"}, ("h", ""), id="one of its own"),
        pytest.param({"hostname": "h", "subdomain": "s"}, ("h", "s.default.svc.c"), id="domain"),
        pytest.param({"hostnameOverride": "o.test", "subdomain": "s"}, ("o.test", ""), id="forced"),
    ],
)
def test_names(spec: Object, names: tuple[str, str]) -> None:
    assert pod_names(pod(**spec), "c") == names


def test_a_full_name_of_more_than_64_characters_is_refused() -> None:
    short = pod(subdomain="s", setHostnameAsFQDN=True)
    assert kernel_host_name(short, "c") == "p.s.default.svc.c"
    long = pod(subdomain="s" * 60, setHostnameAsFQDN=True)
    with pytest.raises(HostNameError, match=r"is too long \(64 characters is the max, 82 char"):
        kernel_host_name(long, "cluster")


def test_the_hosts_file() -> None:
    aliases = [{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]
    spec: Object = {"hostname": "h", "subdomain": "s", "hostAliases": aliases}
    lines = hosts_text(pod(**spec), ("127.64.0.2",), "c", "").splitlines()
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert lines[1] == "127.0.0.1\tlocalhost"
    assert "127.64.0.2\th.s.default.svc.c\th" in lines
    assert lines[-3:] == ["", "# Entries added by HostAliases.", "192.0.2.7\ta\tb"]
    shared = hosts_text(pod(hostNetwork=True), (), "c", "127.0.0.1 here\n")
    assert shared == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 here\n"
