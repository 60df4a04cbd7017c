"""A cloud that only writes down what it is asked for, a line each, in the file --cloud-config.

A line is a JSON object: which process asked, what for, and the range or the Service's uid. What
there is, is what the lines add up to.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.cloud.provider import CloudContext, CloudError, Ingress, Route


class Ledger:
    """The file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **line: Any) -> None:
        text = json.dumps({"pid": os.getpid(), **line}) + "\n"
        try:
            with self.path.open("a") as file:
                file.write(text)
        except OSError as error:
            raise CloudError(f"{self.path}: {error.strerror}") from error

    def read(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in self.path.read_text().splitlines()]
        except FileNotFoundError:
            return []


class Routes:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def list(self) -> tuple[Route, ...]:
        there = {}
        for line in self.ledger.read():
            if line["what"] == "create route":
                there[line["node"], line["cidr"]] = Route(line["node"], line["cidr"])
            elif line["what"] == "delete route":
                there.pop((line["node"], line["cidr"]), None)
        return tuple(there.values())

    async def create(self, route: Route) -> None:
        self.ledger.write(what="create route", node=route.node_name, cidr=route.destination_cidr)

    async def delete(self, route: Route) -> None:
        self.ledger.write(what="delete route", node=route.node_name, cidr=route.destination_cidr)


class LoadBalancers:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def ensure(
        self, service: dict[str, Any], nodes: Sequence[dict[str, Any]]
    ) -> tuple[Ingress, ...]:
        self.ledger.write(
            what="ensure load balancer", uid=service["metadata"]["uid"], nodes=len(nodes)
        )
        return (Ingress(ip="203.0.113.7"),)

    async def delete(self, service: dict[str, Any]) -> None:
        self.ledger.write(what="delete load balancer", uid=service["metadata"]["uid"])


class LedgerCloud:
    name = "ledger"
    instances = None  # it knows no machines

    def __init__(self, context: CloudContext) -> None:
        ledger = Ledger(Path(context.config_file))
        self.routes = Routes(ledger)
        self.load_balancers = LoadBalancers(ledger)

    async def run(self) -> None:
        """Nothing goes on by itself."""
