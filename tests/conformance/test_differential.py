"""Whatever is asked, in whatever order: our member answers what the real etcd answers.

Both are asked the same random sequences, and every answer is compared, refusals too. What etcd
itself has changed since the release that we compare with is in `newer`. DIFFERENTIAL=20 explores:
twenty times as many sequences, and other ones each time.
"""

import os

import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kubraft.pb.authpb.auth_pb2 import Permission
from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from tests.conformance import requests
from tests.conformance.newer import is_newer
from tests.conformance.pair import Pair
from tests.conformance.requests import Step
from tests.conformance.watching import Watching, settled

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("pair")]

EXPLORE = int(os.environ.get("DIFFERENTIAL", "0"))
FUZZ = settings(
    deadline=None,
    derandomize=not EXPLORE,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


@settings(FUZZ, max_examples=80 * (EXPLORE or 1))
@given(steps=st.lists(requests.kv_steps, min_size=5, max_size=20))
def test_keys_txns_leases_and_compactions(pair: Pair, steps: list[Step]) -> None:
    base = pair.begin()
    for verb, request in steps:
        pair.agree(verb, requests.at(request, base))


def permission(kind: str, key: bytes, end: bytes = b"") -> Permission:
    return Permission(permType=Permission.Type.Value(kind), key=key, range_end=end)


# Three users, two roles below root, and authentication switched on.
AUTH_SET_UP: tuple[Step, ...] = (
    *(
        ("UserAdd", pb.AuthUserAddRequest(name=name, password="pass"))
        for name in ("root", "ann", "bob")
    ),
    *(("RoleAdd", pb.AuthRoleAddRequest(name=name)) for name in ("root", "reader", "writer")),
    ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="root", role="root")),
    ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="ann", role="reader")),
    ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="bob", role="writer")),
    *(
        ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name=name, perm=perm))
        for name, perm in (
            ("reader", permission("READ", b"a", b"c")),
            ("writer", permission("READWRITE", b"b")),
            ("writer", permission("WRITE", b"a")),
        )
    ),
    ("AuthEnable", pb.AuthEnableRequest()),
)
AUTH_STEPS = st.one_of(
    requests.auth_steps, requests.auth_steps, requests.kv_steps, requests.log_ins
)


@settings(FUZZ, max_examples=40 * (EXPLORE or 1))
@given(first=requests.log_ins, steps=st.lists(AUTH_STEPS, min_size=10, max_size=30))
def test_users_roles_and_what_they_may(pair: Pair, first: Step, steps: list[Step]) -> None:
    pair.begin_auth()
    base = pair.begin()
    try:
        for verb, request in (*AUTH_SET_UP, first, *steps):
            asked = requests.at(request, base)
            if isinstance(asked, pb.AuthenticateRequest):
                answers = pair.log_in(asked)
            else:
                answers = pair.ask(verb, asked)
            if answers.ours != answers.etcd and is_newer(verb, asked, answers):
                # One has done it and the other not: from here on they differ.
                return
            pair.agree(verb, asked, answers=answers)
    finally:
        pair.begin_auth()


@settings(FUZZ, max_examples=30 * (EXPLORE or 1))
@given(steps=st.lists(st.one_of(requests.watch_steps, requests.kv_steps), min_size=8, max_size=25))
def test_watches(pair: Pair, steps: list[Step]) -> None:
    base = pair.begin()
    streams = [Watching(side.channel) for side in pair.sides]
    try:
        for verb, request in steps:
            asked = requests.at(request, base)
            if isinstance(asked, pb.WatchRequest):
                for stream in streams:
                    stream.send(asked)
            else:
                pair.agree(verb, asked)
        etcd, ours = settled(*streams)
        story = [
            f"{verb} {text_format.MessageToString(requests.at(request, base), as_one_line=True)}"
            for verb, request in steps
        ]
        assert ours == etcd, "\n".join(story)
        assert streams[1].failure == streams[0].failure
    finally:
        for stream in streams:
            stream.close()
