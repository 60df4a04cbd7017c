"""The commands on the cluster itself, as the command line declares them.

What a command does is in a module of its own, imported when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from kubraft.cli import INTERRUPTED_STATUS

_PANEL = "Commands on the cluster"

Members = Annotated[
    int | None, typer.Option("--members", help="Store members: 1, 3 or 5.", show_default="3")
]
Nodes = Annotated[int | None, typer.Option("--nodes", help="Nodes.", show_default="2")]
Apiservers = Annotated[
    int | None, typer.Option("--apiservers", help="API servers on one port.", show_default="1")
]
Schedulers = Annotated[
    int | None, typer.Option("--schedulers", help="Schedulers, of which one acts.")
]
ControllerManagers = Annotated[
    int | None, typer.Option("--controller-managers", help="Of which one acts.")
]
HollowNodes = Annotated[
    int | None,
    typer.Option(
        "--hollow-nodes", help="Nodes without machines, in one process.", show_default="0"
    ),
]
HollowCpu = Annotated[int, typer.Option("--hollow-cpu", help="CPUs of each.")]
HollowMemory = Annotated[str, typer.Option("--hollow-memory", help="Memory of each.")]
HollowPods = Annotated[int, typer.Option("--hollow-pods", help="Pods of each.")]
HollowTaint = Annotated[
    bool, typer.Option("--hollow-taint/--no-hollow-taint", help="Keep Pods off that do not ask.")
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="What runs containers: process (no root needed) or containerd (root).",
        show_default="process",
    ),
]
RuntimeEndpoint = Annotated[
    str,
    typer.Option(
        "--container-runtime-endpoint",
        help="A CRI socket that is served already, unix:///PATH, for one node.",
    ),
]
Name = Annotated[
    str, typer.Argument(help="As `kubraft status` lists it: store-1, apiserver-0, node-1, ...")
]
Archive = Annotated[
    Path, typer.Argument(metavar="FILE", help="A tar file: an OCI image layout or Docker's.")
]
Output = Annotated[str, typer.Option("--output", "-o", help="json, for scripts.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for function in (up, status, kill, start, add_node, remove_node, down, clean):
        app.command(function.__name__.replace("_", "-"), rich_help_panel=_PANEL)(function)
    images = typer.Typer(help="Container images of the nodes.", no_args_is_help=True)
    images.command("import")(import_archive)
    images.command("list")(list_all_images)
    app.add_typer(images, name="images", rich_help_panel=_PANEL)


def up(
    *,
    members: Members = None,
    nodes: Nodes = None,
    apiservers: Apiservers = None,
    schedulers: Schedulers = None,
    controller_managers: ControllerManagers = None,
    hollow_nodes: HollowNodes = None,
    hollow_cpu: HollowCpu = 32,
    hollow_memory: HollowMemory = "256Gi",
    hollow_pods: HollowPods = 110,
    hollow_taint: HollowTaint = True,
    runtime: Runtime = None,
    container_runtime_endpoint: RuntimeEndpoint = "",
) -> None:
    """Start a cluster in $KUBRAFT_HOME or ./.kubraft, or start it again with its data."""

    def work() -> None:
        from kubraft.cli.cluster_up import bring_up  # noqa: PLC0415
        from kubraft.cli.runtime_choice import with_runtime  # noqa: PLC0415
        from kubraft.cluster_config import Counts, HollowConfig  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        hollow = None
        if hollow_nodes is not None:
            hollow = HollowConfig(
                hollow_nodes, hollow_cpu, hollow_memory, hollow_pods, hollow_taint
            )
        counts = Counts(members, nodes, apiservers, schedulers, controller_managers, hollow)
        chosen = with_runtime(counts, runtime, container_runtime_endpoint)
        bring_up(Home.from_environment(), chosen)

    _run(work)


def status(output: Output = "") -> None:
    """Show every process: whether it runs, and what each member of the store says of itself."""

    def work() -> None:
        from kubraft.cli.cluster_status import show_status  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        show_status(Home.from_environment(), output)

    _run(work)


def kill(name: Name) -> None:
    """SIGKILL a process; it stays down until `kubraft start`. A node dies as a machine."""

    def work() -> None:
        from kubraft.cli.cluster_change import kill_process  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        kill_process(Home.from_environment(), name)

    _run(work)


def start(name: Name) -> None:
    """Start a process that is down, and wait until it is ready."""

    def work() -> None:
        from kubraft.cli.cluster_change import start_process  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        start_process(Home.from_environment(), name)

    _run(work)


def add_node() -> None:
    """Add a machine to the running cluster; it joins as the next node."""

    def work() -> None:
        from kubraft.cli.machines import add_machine  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        add_machine(Home.from_environment())

    _run(work)


def remove_node(
    name: Annotated[str, typer.Argument(help="As `kubraft status` lists it: node-2.")],
) -> None:
    """Take a machine away for good, with its data; its Node goes, its Pods run elsewhere."""

    def work() -> None:
        from kubraft.cli.machines import remove_machine  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        remove_machine(Home.from_environment(), name)

    _run(work)


def down() -> None:
    """Stop everything in order; the data stays."""

    def work() -> None:
        from kubraft.cli.cluster_change import take_down  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        take_down(Home.from_environment())

    _run(work)


def clean() -> None:
    """Remove a cluster that is down, with its data, keys and logs."""

    def work() -> None:
        from kubraft.cli.cluster_change import remove  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        remove(Home.from_environment())

    _run(work)


def import_archive(archive: Archive) -> None:
    """Give every node the images of an archive, as `docker save` or skopeo writes it."""

    def work() -> None:
        from kubraft.cli.image_commands import import_images  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        import_images(Home.from_environment(), archive)

    _run(work)


def list_all_images() -> None:
    """Show the images that the nodes have."""

    def work() -> None:
        from kubraft.cli.image_commands import list_images  # noqa: PLC0415
        from kubraft.home import Home  # noqa: PLC0415

        for row in list_images(Home.from_environment()):
            sys.stdout.write("\t".join(row) + "\n")

    _run(work)


def _run(work: Callable[[], None]) -> None:
    """Run `work`; what goes wrong is one line on standard error and exit status 1."""
    from kubraft.cluster_config import ClusterConfigError  # noqa: PLC0415
    from kubraft.home import HomeError  # noqa: PLC0415
    from kubraft.supervisor.control import ControlError  # noqa: PLC0415
    from kubraft.supervisor.daemon import DaemonError  # noqa: PLC0415

    try:
        work()
    except (HomeError, ClusterConfigError, ControlError, DaemonError) as error:
        _fail(str(error))
    except OSError as error:
        subject = f"{error.filename}: " if error.filename else ""
        _fail(f"{subject}{error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_STATUS)


def _fail(message: str) -> None:
    sys.stderr.write(f"kubraft: {message}\n")
    sys.exit(1)
