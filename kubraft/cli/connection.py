"""Which API server the command line talks to, and as whom.

By default the cluster in `$KUBRAFT_HOME` or `./.kubraft`, as its administrator; `--server`,
`--token` and `--ca-file` each replace one part of that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kubraft.cli.failure import ClusterAbsentError, CommandError
from kubraft.home import Home, HomeError
from kubraft.supervisor.pid_file import find_running


@dataclass(frozen=True, slots=True)
class Connection:
    """An address, the CA that it must prove itself with, and the secret to show."""

    server: str
    ca_file: Path | None
    token: str = field(repr=False, default="")


def resolve(home: Home, *, server: str = "", token: str = "", ca_file: str = "") -> Connection:
    """Complete what was given on the command line from the cluster in `home`.

    Raises:
        ClusterAbsentError: something is missing and there is no cluster to take it from.
        CommandError: a token would be sent in the clear.
    """
    if server and token and ca_file:
        return Connection(server, Path(ca_file), token)
    try:
        cluster = home.find_cluster()
    except HomeError as error:
        raise ClusterAbsentError(str(error)) from error
    if cluster is None:
        if server and token and not ca_file:
            raise CommandError("--token needs --ca-file: without TLS it could be read on its way")
        if server:
            return Connection(server, Path(ca_file) if ca_file else None, token)
        raise ClusterAbsentError(
            f"no cluster is running here (there is no {home.cluster_file}); "
            "start one with 'make up', or name one with --server"
        )
    if not token:
        try:
            token = home.token_file.read_text().strip()
        except OSError as error:
            raise ClusterAbsentError(f"cannot read {home.token_file}: {error.strerror}") from error
    return Connection(
        server or cluster.grpc, Path(ca_file) if ca_file else home.pki / "ca.crt", token
    )


def not_answering(home: Home, connection: Connection) -> ClusterAbsentError:
    """What to say when nobody listens at the address."""
    if find_running(home.pid_file) is not None:
        return ClusterAbsentError(
            f"no API server answers at {connection.server}; see 'kubraft status' "
            "and start one with 'kubraft start apiserver-0'"
        )
    return ClusterAbsentError(
        f"no cluster is running here (nothing answers at {connection.server}, "
        f"home {home.path}); start one with 'make up'"
    )
