"""The local provider put together: `--cloud-provider=local --cloud-config=HOME/cluster.json`."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from agents.cloud.local.addresses import AddressFile
from agents.cloud.local.inventory import Inventory
from agents.cloud.local.kernel_routes import KernelRoutes
from agents.cloud.local.load_balancers import LocalLoadBalancers
from agents.cloud.provider import CloudContext
from kubraft.home import Home


class LocalProvider:
    """Machines are the supervisor's; load balancers are sockets of this process.

    Routes are the kernel's, for who asks for them by flags: the nodes of `kubraft up` need none, as
    they share the machine's loopback, on which all Pods' addresses are.
    """

    name = "local"

    def __init__(self, context: CloudContext) -> None:
        """Raises ValueError where there is no configuration, HomeError where it is none of ours."""
        if not context.config_file:
            raise ValueError("--cloud-config must name the cluster's file")
        home = Home(Path(context.config_file).parent)
        network = IPv4Network(home.get_cluster().balancer_network)
        file = AddressFile(home.data("cloud") / "load-balancers.json")
        self.instances = Inventory(home)
        self.routes = KernelRoutes()
        self.load_balancers = LocalLoadBalancers(network, file, context.clock)

    async def run(self) -> None:
        await self.load_balancers.run()
