"""Real connections through the kernel's rules, between machines that the tests make."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from agents.proxy.nft_table import NftError, NftProgram, NftTable, why_not
from agents.proxy.ruleset import SERVICE_IPS, Element, Settings, ruleset_of
from agents.proxy.service_ports import Place
from agents.proxy.service_rules import fragment_of
from kubraft.api.object import Object
from tests.agents.proxy.lab import (
    CLIENT,
    NODE,
    PORT,
    REFUSED,
    SETTINGS,
    SILENCE,
    Lab,
    ask,
    ask_udp,
    asked,
)
from tests.agents.proxy.objects import endpoint, service, slice_of
from tests.harness.eventually import eventually
from tests.harness.network import Machine, connect, missing

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"no machines: {missing()}"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("nftables"),
]

IP = "172.30.0.9"
GATEWAY = "10.244.0.1"
A, B = "10.244.0.2", "10.244.0.3"
QUIET_S = 0.5  # for so long nothing is taken for silence


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def only_lab() -> AsyncIterator[Lab]:
    async with Lab() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def lab(only_lab: Lab) -> AsyncIterator[Lab]:
    """With nothing of another test."""
    yield only_lab
    only_lab.settings = SETTINGS
    only_lab.node.run("nft", "flush", "ruleset")
    await only_lab.table.verify()


def on(node: str, address: str, **conditions: bool) -> Object:
    return {**endpoint(address, **conditions), "nodeName": node}


def web(**spec: Any) -> Object:
    return service(**{"clusterIP": IP, **spec})


def balanced(**spec: Any) -> Object:
    made = web(type="LoadBalancer", **spec)
    made["spec"]["ports"] = [{"port": 80, "nodePort": 30080}]
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "172.31.0.1"}]}}
    return made


BOTH = slice_of("web", endpoint(A), endpoint(B))


async def test_each_way_to_a_service_leads_to_all_its_pods(lab: Lab) -> None:
    await lab.apply(
        [{**balanced(), "spec": {**balanced()["spec"], "externalIPs": ["172.31.0.2"]}}], [BOTH]
    )
    for machine, address, port in [
        (lab.client, IP, 80),
        (lab.client, NODE, 30080),
        (lab.client, "172.31.0.1", 80),
        (lab.client, "172.31.0.2", 80),
        (lab.node, IP, 80),
        (lab.node, NODE, 30080),
    ]:
        # From outside through the node, so that the answer comes back this way.
        answers = await asked(machine, address, port, 30)
        assert set(answers) == {f"a {GATEWAY}", f"b {GATEWAY}"}, (address, port)
    # A Pod's own address is kept; where it reaches itself the node's stands for it.
    from_pod = await asked(lab.pods[0], IP, 80, 30)
    assert set(from_pod) == {f"a {GATEWAY}", f"b {A}"}
    assert await ask(lab.client, NODE, 30081) == REFUSED


async def test_udp_goes_the_same_way(lab: Lab) -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    slice_ = slice_of("web", endpoint(A), ports=({**ports[0], "port": PORT},))
    await lab.apply([web(ports=ports)], [slice_])
    assert await ask_udp(lab.client, IP, 53) == f"a {GATEWAY}"
    assert await ask_udp(lab.pods[1], IP, 53) == f"a {B}"
    await lab.apply([web(ports=ports)], [])
    assert await ask_udp(lab.client, IP, 53) == REFUSED


async def test_what_nobody_serves_is_refused_at_once(lab: Lab) -> None:
    await lab.apply([balanced()], [slice_of("web", endpoint(A, ready=False))])
    for machine in (lab.client, lab.node, lab.pods[1]):
        for address, port in ((IP, 80), (IP, 81), (NODE, 30080), ("172.31.0.1", 80)):
            assert await ask(machine, address, port) == REFUSED, (address, port)
    await lab.apply([balanced()], [BOTH])
    assert await ask(lab.client, IP, 80) in (f"a {GATEWAY}", f"b {GATEWAY}")
    assert await ask(lab.client, IP, 81) == REFUSED  # the address is known, the port is not


async def test_what_ends_serves_only_while_nobody_else_does(lab: Lab) -> None:
    ending = endpoint(A, ready=False, serving=True, terminating=True)
    await lab.apply([web()], [slice_of("web", ending, endpoint(B))])
    assert set(await asked(lab.client, IP, 80)) == {f"b {GATEWAY}"}
    await lab.apply([web()], [slice_of("web", ending)])
    assert set(await asked(lab.client, IP, 80)) == {f"a {GATEWAY}"}


async def test_connections_outlive_their_endpoint_and_their_proxy(lab: Lab) -> None:
    """Draining: a Pod that ends finishes what it has begun."""
    loop = asyncio.get_running_loop()
    await lab.apply([web()], [slice_of("web", endpoint(A))])
    with lab.client.socket() as client:
        await connect(client, IP, 80)
        assert (await loop.sock_recv(client, 100)).startswith(b"a ")
        await lab.apply([web()], [slice_of("web", endpoint(B))])
        await lab.table.sweep()
        assert await ask(lab.client, IP, 80) == f"b {GATEWAY}"
        await loop.sock_sendall(client, b"more\n")
        assert (await loop.sock_recv(client, 100)).startswith(b"a ")
        # Another proxy, which does not know what is there, takes over.
        await NftTable("IPv4", lab.nft).apply(lab.ruleset([web()], []))
        assert await ask(lab.client, IP, 80) == REFUSED
        await loop.sock_sendall(client, b"more\n")
        assert (await loop.sock_recv(client, 100)).startswith(b"a ")


async def test_a_roll_out_under_load_fails_no_request() -> None:
    """Three generations of Pods; each ends as Pods do: it is told so first, and stops later."""
    async with Lab(pods=4) as lab:
        kept = Talker(lab.client, one_connection=True)
        busy = [Talker(lab.client), Talker(lab.client), Talker(lab.pods[3]), kept]
        old, *rest = lab.pods[:3]
        await lab.apply([web()], [slice_of("web", endpoint(old.address))])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each.run()) for each in busy]
            await until_asked(busy, 3)
            for new in rest:
                ready = endpoint(new.address)
                ending = endpoint(old.address, ready=False, serving=True, terminating=True)
                for endpoints in ([endpoint(old.address), ready], [ending, ready], [ready]):
                    await lab.apply([web()], [slice_of("web", *endpoints)])
                    await lab.table.sweep()
                    await until_asked(busy, 10)
                old.stop_listening()
                await until_asked(busy, 10)
                old = new
            for task in tasks:
                task.cancel()
        assert [each.failures for each in busy] == [[], [], [], []]
        assert set(kept.answers) == {"a"}  # what was begun there ends there
        assert all({"a", "b", "c"} == set(each.answers) for each in busy[:3])


class Talker:
    """Asks without end, by a new connection each time or always by the same one."""

    def __init__(self, machine: Machine, *, one_connection: bool = False) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._machine = machine
        self._one_connection = one_connection

    async def run(self) -> None:
        while not self._one_connection:
            self._note(await ask(self._machine, IP, 80, 30))
        loop = asyncio.get_running_loop()
        with self._machine.socket() as kept:
            await connect(kept, IP, 80, 30)
            while answer := (await loop.sock_recv(kept, 100)).decode():
                self._note(answer)
                await asyncio.sleep(0.005)
                await loop.sock_sendall(kept, b"more\n")
            self.failures.append("ended")

    def _note(self, answer: str) -> None:
        name, _, _ = answer.partition(" ")
        if name in ("a", "b", "c"):
            self.answers[name] += 1
        else:
            self.failures.append(answer)


async def until_asked(talkers: list[Talker], times: int) -> None:
    """Until each has had that many more answers."""
    wanted = [each.answers.total() + times for each in talkers]
    await eventually(
        lambda: all(
            each.failures or each.answers.total() >= count
            for each, count in zip(talkers, wanted, strict=True)
        ),
        timeout_s=60,
    )


async def test_external_traffic_policy_local_stays_here_and_keeps_the_clients_address(
    lab: Lab,
) -> None:
    made = balanced(externalTrafficPolicy="Local")
    here, there = Place(frozenset({"node-0"})), Place(frozenset({"node-1"}))
    slices = [slice_of("web", on("node-0", A), on("node-2", B))]
    await lab.apply([made], slices, here)
    for address, port in ((NODE, 30080), ("172.31.0.1", 80)):
        assert set(await asked(lab.client, address, port)) == {f"a {CLIENT}"}
    # The policy is for what comes from outside.
    assert set(await asked(lab.client, IP, 80, 30)) == {f"a {GATEWAY}", f"b {GATEWAY}"}
    assert set(await asked(lab.node, "172.31.0.1", 80, 30)) == {f"a {GATEWAY}", f"b {GATEWAY}"}
    assert set(await asked(lab.pods[1], "172.31.0.1", 80, 30)) == {f"a {B}", f"b {GATEWAY}"}
    # Nobody is here: silence, so that who asks tries another node. From within all goes on.
    await lab.apply([made], slices, there)
    assert await ask(lab.client, "172.31.0.1", 80, QUIET_S) == SILENCE
    assert await ask(lab.client, NODE, 30080, QUIET_S) == SILENCE
    assert set(await asked(lab.node, "172.31.0.1", 80, 30)) == {f"a {GATEWAY}", f"b {GATEWAY}"}


async def test_internal_traffic_policy_local_stays_here(lab: Lab) -> None:
    made = web(internalTrafficPolicy="Local")
    slices = [slice_of("web", on("node-0", A), on("node-2", B))]
    await lab.apply([made], slices, Place(frozenset({"node-0"})))
    assert set(await asked(lab.pods[1], IP, 80)) == {f"a {B}"}
    await lab.apply([made], slices, Place(frozenset({"node-1"})))
    assert await ask(lab.pods[1], IP, 80, QUIET_S) == SILENCE


async def test_a_client_keeps_its_endpoint(lab: Lab) -> None:
    made = web(sessionAffinity="ClientIP")
    await lab.apply([made], [BOTH])
    (kept,) = await asked(lab.client, IP, 80)
    # It does so when another proxy takes over.
    await NftTable("IPv4", lab.nft).apply(lab.ruleset([made], [BOTH]))
    assert set(await asked(lab.client, IP, 80)) == {kept}
    other = B if kept.startswith("a") else A
    await lab.apply([made], [slice_of("web", endpoint(other))])
    (changed,) = await asked(lab.client, IP, 80)
    assert changed != kept


async def test_a_client_that_was_away_for_long_may_get_another_endpoint(lab: Lab) -> None:
    config = {"clientIP": {"timeoutSeconds": 1}}
    made = web(sessionAffinity="ClientIP", sessionAffinityConfig=config)
    await lab.apply([made], [BOTH])
    seen: set[str] = set()
    while len(seen) < 2:
        seen.add(await ask(lab.client, IP, 80))
        await asyncio.sleep(1.1)


async def test_only_whom_the_source_ranges_name_may_use_the_balancer(lab: Lab) -> None:
    await lab.apply([balanced(loadBalancerSourceRanges=["10.8.0.0/16"])], [BOTH])
    assert await ask(lab.client, "172.31.0.1", 80, QUIET_S) == SILENCE
    assert await ask(lab.client, IP, 80) != SILENCE
    await lab.apply([balanced(loadBalancerSourceRanges=[f"{CLIENT}/30", "fd00::/8"])], [BOTH])
    assert await ask(lab.client, "172.31.0.1", 80) != SILENCE


async def test_addresses_without_a_service_are_silent(lab: Lab) -> None:
    lab.settings = replace(SETTINGS, service_networks=("172.30.0.0/24",))
    await lab.apply([web()], [BOTH])
    assert await ask(lab.client, "172.30.0.10", 80, QUIET_S) == SILENCE
    assert (await ask(lab.client, IP, 80)).endswith(GATEWAY)


async def test_node_ports_are_on_all_addresses_but_loopback_where_none_are_named(lab: Lab) -> None:
    lab.settings = replace(SETTINGS, node_port_networks=())
    await lab.apply([balanced()], [BOTH])
    for address, answer in ((NODE, GATEWAY), (GATEWAY, GATEWAY), ("127.0.0.1", REFUSED)):
        assert (await ask(lab.node, address, 30080)).endswith(answer), address
    assert (await ask(lab.client, GATEWAY, 30080)).endswith(GATEWAY)


async def test_on_loopback_too(lab: Lab) -> None:
    """As with the embedded runtime, where all Pods are on the machine's loopback."""
    lab.settings = Settings(node_port_networks=("127.0.0.1",))
    with lab.node.socket() as listening:
        listening.bind(("127.64.0.2", PORT))
        listening.listen()

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"here {writer.get_extra_info('peername')[0]}".encode())
            writer.close()

        server = await asyncio.start_server(answer, sock=listening)
        made = balanced(clusterIP="127.160.0.9")
        await lab.apply([made], [slice_of("web", endpoint("127.64.0.2"))])
        for address, port in (("127.160.0.9", 80), ("127.0.0.1", 30080), ("172.31.0.1", 80)):
            assert (await ask(lab.node, address, port)).startswith("here "), address
        server.close()


async def test_ipv6_has_rules_of_its_own(lab: Lab) -> None:
    settings = Settings(
        "IPv6",
        pods="ip6 saddr fd01::/64",
        not_pods="ip6 saddr != fd01::/64",
        service_networks=("fd00::/64",),
    )
    config = {"sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local"}
    made = balanced(
        clusterIP="fd00::9",
        ipFamilies=["IPv6"],
        loadBalancerSourceRanges=["fd02::/64"],
        **config,
    )
    made["status"]["loadBalancer"]["ingress"] = [{"ip": "fd03::9"}]
    slices = [slice_of("web", endpoint("fd01::2"), addressType="IPv6")]
    for command in (
        "address add fd01::2/128 dev lo",
        "address add fd02::1/128 dev lo",
        "route add fd00::/64 dev lo",
        "route add fd03::/64 dev lo",
    ):
        lab.node.run("ip", "-6", *command.split())
    table = NftTable("IPv6", lab.nft)
    with lab.node.socket(family=socket.AF_INET6) as listening:
        listening.bind(("fd01::2", PORT))
        listening.listen()
        for ends, answer in ((slices, 0), ([], errno.ECONNREFUSED)):
            fragment = fragment_of(made, ends, Place(), settings)
            await table.apply(ruleset_of(settings, [fragment]))
            for source, address, port in (
                ("fd01::2", "fd00::9", 80),
                ("fd02::1", "fd03::9", 80),
                ("fd02::1", "fd02::1", 30080),
            ):
                with lab.node.socket(family=socket.AF_INET6) as client:
                    client.bind((source, 0))
                    code = 0
                    try:
                        await connect(client, address, port, 30)
                    except OSError as error:
                        code = error.errno or -1
                    assert code == answer, (source, address, port)
    await table.remove()


async def test_the_tables_of_others_are_left_alone_and_ours_goes_whole(lab: Lab) -> None:
    theirs = "table ip theirs {\n\tchain c {\n\t\ttcp dport 1 accept\n\t}\n}\n"
    lab.node.run("nft", "-f", "-", stdin=theirs)
    await lab.apply([balanced()], [BOTH])
    await lab.apply([], [])
    await lab.table.sweep()
    left = lab.node.run("nft", "list", "table", "ip", "kube-proxy")
    assert "web" not in left
    await lab.table.remove()
    await lab.table.remove()
    assert lab.node.run("nft", "list", "ruleset") == theirs


async def test_a_table_that_somebody_broke_is_made_whole(lab: Lab) -> None:
    await lab.apply([web()], [BOTH])
    assert await lab.table.verify()
    lab.node.run("nft", "flush", "ruleset")
    assert not await lab.table.verify()
    await lab.apply([web()], [BOTH])
    assert (await ask(lab.client, IP, 80)).endswith(GATEWAY)
    # Also where the failure is met first by a change.
    lab.node.run("nft", "delete", "table", "ip", "kube-proxy")
    with pytest.raises(NftError):
        await lab.apply([web()], [slice_of("web", endpoint(A))])
    await lab.apply([web()], [slice_of("web", endpoint(A))])
    assert await ask(lab.client, IP, 80) == f"a {GATEWAY}"
    # And where there is a table of that name with other things in it.
    lab.node.run("nft", "flush", "ruleset")
    odd = "table ip kube-proxy {\n chain services { type nat hook input priority 5; }\n}\n"
    lab.node.run("nft", "-f", "-", stdin=odd)
    await NftTable("IPv4", lab.nft).apply(lab.ruleset([web()], [BOTH]))
    assert (await ask(lab.client, IP, 80)).endswith(GATEWAY)


async def test_nothing_is_changed_by_a_transaction_that_fails(lab: Lab) -> None:
    await lab.apply([web()], [BOTH])
    before = lab.node.run("nft", "list", "ruleset")
    ruleset = lab.ruleset([web()], [slice_of("web", endpoint(A))])
    broken = replace(
        ruleset,
        elements={**ruleset.elements, Element(SERVICE_IPS, f"{IP} . tcp . 82"): "goto nowhere"},
    )
    with pytest.raises(NftError, match="No such file"):
        await lab.table.apply(broken)
    assert lab.node.run("nft", "list", "ruleset") == before


async def test_it_is_known_whether_rules_can_be_made(lab: Lab) -> None:
    assert await why_not(lab.nft) == ""
    assert "not installed" in await why_not(NftProgram(("nft-that-is-not-there",)))
    as_nobody = NftProgram((*lab.node.enter, "setpriv", "--reuid=65534", "--clear-groups", "nft"))
    assert "Operation not permitted" in await why_not(as_nobody)


async def test_sctp_is_translated(lab: Lab) -> None:
    """No SCTP sockets: many kernels have none. One raw packet says where it would go."""
    ports = [{"name": "s", "port": 38412, "protocol": "SCTP"}]
    slice_ = slice_of("web", endpoint(A), ports=({**ports[0], "port": 9999},))
    await lab.apply([web(ports=ports)], [slice_])
    lab.node.sysctl("net.netfilter.nf_conntrack_checksum", 0)
    # From port 1234, without a check sum: INIT.
    init = bytes.fromhex("04d2960c00000000000000000100001400000001000100000001000100000001")
    with (
        lab.client.socket(socket.SOCK_RAW, protocol=socket.IPPROTO_SCTP) as client,
        lab.pods[0].socket(socket.SOCK_RAW, protocol=socket.IPPROTO_SCTP) as pod,
    ):
        client.sendto(init, (IP, 0))
        async with asyncio.timeout(30):
            packet = await asyncio.get_running_loop().sock_recv(pod, 200)
    header = packet[(packet[0] & 15) * 4 :]
    assert int.from_bytes(header[2:4]) == 9999
