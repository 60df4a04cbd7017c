"""`python -m store.offline`, or `kubraft-etcdutl`: etcdutl's commands for files of this store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import lmdb
import orjson

from kubraft.standard_output import end_with_reader
from store import urls
from store.directory import lock_directory
from store.flag_error import FlagError
from store.member_error import cause_of
from store.mvcc.backend import FILE_NAME
from store.mvcc.errors import MvccError
from store.offline.database import opened
from store.offline.restore import plan, restore
from store.offline.snapshot import SnapshotError
from store.offline.status import KvHash, Status, kv_hash, status
from store.rpc.maintenance import ETCD_VERSION

# Source: etcd, pkg/cobrautl (error.go).
_EXIT_ERROR, _EXIT_BAD_ARGUMENTS = 1, 128
_DEFAULT_PEER_URL = "http://localhost:2380"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _fail(message, _EXIT_BAD_ARGUMENTS)


def main() -> int:
    end_with_reader()
    arguments = _parser().parse_args()
    try:
        arguments.run(arguments)
    except (SnapshotError, FlagError) as error:
        _fail(str(error), _EXIT_ERROR)
    except MvccError as error:
        _fail(cause_of(error), _EXIT_ERROR)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{cause_of(error)}", _EXIT_ERROR)
    return 0


def _fail(message: str, code: int) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="kubraft-etcdutl", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    snapshots = commands.add_parser("snapshot", help="restore a snapshot, or look into one")
    of_snapshot = snapshots.add_subparsers(required=True, metavar="COMMAND")
    _add_restore(of_snapshot.add_parser("restore", help="make a member's data directory of it"))
    shown = of_snapshot.add_parser("status", help="what is in it")
    shown.add_argument("file", type=Path)
    shown.set_defaults(run=_status)
    hashed = commands.add_parser("hashkv", help="the hash of a snapshot's history")
    hashed.add_argument("file", type=Path)
    hashed.add_argument("--rev", type=int, default=0, help="up to this revision; 0 for all")
    hashed.set_defaults(run=_hashkv)
    for one in (shown, hashed):
        one.add_argument("-w", "--write-out", choices=("simple", "json", "table"), default="simple")
    defragmented = commands.add_parser("defrag", help="rewrite a database while no member runs")
    defragmented.add_argument("--data-dir", type=Path, required=True)
    defragmented.set_defaults(run=_defrag)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    parser.add_argument("--name", default="default")
    parser.add_argument("--data-dir", default="", help="NAME.etcd if not given")
    parser.add_argument("--wal-dir", type=Path, help="wal in the data directory if not given")
    parser.add_argument("--initial-cluster", default=f"default={_DEFAULT_PEER_URL}")
    parser.add_argument("--initial-cluster-token", default="etcd-cluster")
    parser.add_argument("--initial-advertise-peer-urls", default=_DEFAULT_PEER_URL)
    parser.add_argument("--skip-hash-check", nargs="?", const="true", default="false")
    parser.add_argument("--bump-revision", type=int, default=0)
    parser.add_argument("--mark-compacted", nargs="?", const="true", default="false")
    parser.set_defaults(run=_restore)


def _restore(arguments: argparse.Namespace) -> None:
    bump: int = arguments.bump_revision
    if bump < 0 or (bump > 0) != (arguments.mark_compacted == "true"):
        _fail("--mark-compacted required if --revision-bump > 0", _EXIT_BAD_ARGUMENTS)
    name: str = arguments.name
    directory = Path(arguments.data_dir or f"{name}.etcd")
    wanted = plan(
        name=name,
        cluster=arguments.initial_cluster,
        token=arguments.initial_cluster_token,
        peer_urls=urls.parse("initial-advertise-peer-urls", arguments.initial_advertise_peer_urls),
        data_dir=directory,
        wal_dir=arguments.wal_dir,
        revision_bump=bump,
        skip_hash_check=arguments.skip_hash_check == "true",
    )
    who = restore(arguments.file, wanted)
    print(  # noqa: T201
        f"restored snapshot {arguments.file} to {directory}: "
        f"cluster {who.cluster_id:x}, member {who.member_id:x}"
    )


def _status(arguments: argparse.Namespace) -> None:
    _show(status(arguments.file), arguments.write_out)


def _hashkv(arguments: argparse.Namespace) -> None:
    _show(kv_hash(arguments.file, arguments.rev), arguments.write_out)


def _show(found: Status | KvHash, form: str) -> None:
    if form == "json":
        print(orjson.dumps(found.json()).decode())  # noqa: T201
    elif form == "table":
        print(_table(found.row()))  # noqa: T201
    else:
        print(", ".join(found.row().values()))  # noqa: T201


def _table(row: Mapping[str, str]) -> str:
    """One row under its heads. Source: etcd, olekukonko/tablewriter with borders."""
    widths = [max(len(head), len(value)) for head, value in row.items()]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    heads = _cells([head.upper().center(width) for head, width in zip(row, widths, strict=True)])
    values = [value.rjust(width) for value, width in zip(row.values(), widths, strict=True)]
    return "\n".join([line, heads, line, _cells(values), line])


def _cells(texts: Sequence[str]) -> str:
    return "|" + "|".join(f" {text} " for text in texts) + "|"


def _defrag(arguments: argparse.Namespace) -> None:
    directory: Path = arguments.data_dir
    state = directory / "state"
    if not (state / FILE_NAME).exists():
        raise SnapshotError(f"--data-dir {directory}: no data directory of a member")
    try:
        lock = lock_directory(directory)
    except BlockingIOError as error:
        raise SnapshotError(f"--data-dir {directory}: in use by another process") from error
    with lock, opened(state) as backend:
        try:
            before, _ = backend.file_bytes()
            backend.take_defragmented(backend.copy_defragmented())
            after, _ = backend.file_bytes()
        except lmdb.Error as error:
            raise SnapshotError(f"{state}: {error}") from error
    print(f"defragmented {state}: {before} bytes before, {after} after")  # noqa: T201


def _version(_: argparse.Namespace) -> None:
    print(f"etcdutl version: {ETCD_VERSION}\nAPI version: 3.6")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
