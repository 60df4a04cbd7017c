"""Requests that are wrong: each gets the answer of the real etcd, and both go on.

Where texts differ, the row says what each answers. Rows that would stop an etcd of this release (an
alarm of an unknown kind, a sort order that there is none of) are in scripts of ours alone.
"""

import pytest

from kubraft.pb.etcdserverpb import rpc_pb2 as pb
from tests.conformance.pair import Answers, Pair

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("pair")]

KV, LEASE, AUTH = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Auth/"
CLUSTER, MAINTENANCE = "/etcdserverpb.Cluster/", "/etcdserverpb.Maintenance/"
LOCK, ELECTION = "/v3lockpb.Lock/", "/v3electionpb.Election/"
HEALTH = "/grpc.health.v1.Health/Check"
NOT_UTF8 = b"\x0a\x02\xff\xfe"
UNREADABLE = "error INTERNAL: grpc: error unmarshalling request"


def put(size: int) -> bytes:
    return pb.PutRequest(key=b"k", value=b"v" * size).SerializeToString()


def txn(*operations: pb.RequestOp) -> bytes:
    return pb.TxnRequest(success=operations).SerializeToString()


def urls(*values: str) -> bytes:
    return pb.MemberAddRequest(peerURLs=values).SerializeToString()


RANGE = pb.RequestOp(request_range=pb.RangeRequest(key=b"k"))
PUT = pb.RequestOp(request_put=pb.PutRequest(key=b"k"))
BIG_PUT = pb.RequestOp(request_put=pb.PutRequest(key=b"k", value=b"v" * 70_000))
BAD_URLS = "error INVALID_ARGUMENT: etcdserver: given member URLs are invalid"
TOO_LARGE = "error INVALID_ARGUMENT: etcdserver: request is too large"

SAME = (
    pytest.param(KV + "Put", b"", "etcdserver: key is not provided", id="no key"),
    pytest.param(KV + "Put", b"\x0a\x01k\xf8\x07\x01", "ok", id="a field of the future"),
    pytest.param(KV + "Nothing", b"", "unknown method Nothing for service", id="no such method"),
    pytest.param(KV, b"", "unknown method  for service etcdserverpb.KV", id="no method"),
    pytest.param(LEASE + "LeaseCheckpoint", b"", "unknown method", id="internal method"),
    pytest.param(KV + "Put", put(70_000), TOO_LARGE, id="a large put"),
    pytest.param(KV + "Put", put(65_528), TOO_LARGE, id="large with its envelope"),
    pytest.param(KV + "Put", put(65_500), "ok", id="just not too large"),
    pytest.param(KV + "Txn", txn(BIG_PUT), TOO_LARGE, id="a large txn"),
    pytest.param(KV + "Put", put(700_000), "larger than max (700007 vs. 589824)", id="larger"),
    pytest.param(KV + "Put", put(5_000_000), "RESOURCE_EXHAUSTED", id="huge"),
    pytest.param(KV + "Txn", txn(*[RANGE] * 7), "too many operations in txn", id="operations"),
    pytest.param(KV + "Txn", txn(PUT, PUT), "duplicate key given in txn", id="twice in a txn"),
    pytest.param(KV + "Txn", txn(pb.RequestOp()), "key not found", id="an empty operation"),
    pytest.param(KV + "Txn", b"", "ok", id="an empty txn"),
    pytest.param(
        KV + "Range", pb.RangeRequest(key=b"k", limit=-(2**63)).SerializeToString(), "ok", id="min"
    ),
    pytest.param(
        KV + "Range",
        pb.RangeRequest(key=b"k", revision=2**63 - 1).SerializeToString(),
        "required revision is a future revision",
        id="the last revision",
    ),
    pytest.param(
        KV + "Compact",
        pb.CompactionRequest(revision=-(2**63)).SerializeToString(),
        "required revision has been compacted",
        id="compact at minus infinity",
    ),
    pytest.param(
        KV + "Put",
        pb.PutRequest(key=b"k", lease=4711).SerializeToString(),
        "error NOT_FOUND: etcdserver: requested lease not found",
        id="an unknown lease",
    ),
    pytest.param(LEASE + "LeaseRevoke", b"", "requested lease not found", id="no lease"),
    pytest.param(
        LEASE + "LeaseGrant", b"\x08\xfb\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ok", id="ttl"
    ),
    pytest.param(CLUSTER + "MemberAdd", b"", BAD_URLS, id="no urls"),
    pytest.param(CLUSTER + "MemberAdd", urls("nonsense"), BAD_URLS, id="no url"),
    pytest.param(CLUSTER + "MemberAdd", urls("http://127.0.0.1"), BAD_URLS, id="no port"),
    pytest.param(CLUSTER + "MemberAdd", urls("http://127.0.0.1:1/x"), BAD_URLS, id="a path"),
    pytest.param(CLUSTER + "MemberAdd", urls("ftp://127.0.0.1:1"), BAD_URLS, id="a scheme"),
    pytest.param(CLUSTER + "MemberRemove", b"\x08\x05", "member not found", id="remove nobody"),
    pytest.param(CLUSTER + "MemberUpdate", b"\x08\x05", "member not found", id="move nobody"),
    pytest.param(CLUSTER + "MemberPromote", b"\x08\x05", "member not found", id="promote nobody"),
    pytest.param(MAINTENANCE + "MoveLeader", b"\x08\x05", "bad leader transferee", id="no heir"),
    pytest.param(MAINTENANCE + "HashKV", b"\x08\xff\x7f", "future revision", id="a future hash"),
    pytest.param(
        MAINTENANCE + "HashKV", b"\x08\xfb\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ok", id="no hash"
    ),
    pytest.param(MAINTENANCE + "Downgrade", b"", "wrong downgrade target version", id="to nothing"),
    pytest.param(MAINTENANCE + "Downgrade", b"\x12\x031.0", "invalid downgrade target", id="to 1"),
    pytest.param(LOCK + "Lock", b"\x0a\x01a\x10\x63", "requested lease not found", id="lock"),
    pytest.param(LOCK + "Unlock", b"", "UNKNOWN: etcdserver: key is not provided", id="unlock"),
    pytest.param(ELECTION + "Campaign", b"\x0a\x01a\x10\x63", "lease not found", id="campaign"),
    pytest.param(ELECTION + "Proclaim", b"", '"leader" field must be provided', id="proclaim"),
    pytest.param(ELECTION + "Resign", b"", '"leader" field must be provided', id="resign"),
    pytest.param(ELECTION + "Leader", b"\x0a\x04none", "election: no leader", id="no leader"),
    pytest.param(HEALTH, b"", "ok", id="health"),
    pytest.param(HEALTH, b"\x0a\x04none", "NOT_FOUND: unknown service", id="health of nothing"),
    pytest.param(HEALTH, b"\x0a\x0fetcdserverpb.KV", "unknown service", id="health of a service"),
)


@pytest.mark.parametrize(("path", "data", "part"), SAME)
def test_what_is_wrong_is_answered_as_by_etcd(
    pair: Pair, path: str, data: bytes, part: str
) -> None:
    answers = pair.raw(path, data)
    assert answers.ours == answers.etcd
    assert part in answers.ours


# How the two libraries for protobuf differ; nothing of these gets further than the reader.
DIFFERENT = (
    pytest.param(KV + "Put", b"\xff\xff", f"{UNREADABLE}: unexpected EOF", UNREADABLE, id="noise"),
    pytest.param(
        KV + "Put", b"\x0a\x05ab", f"{UNREADABLE}: unexpected EOF", UNREADABLE, id="cut off"
    ),
    pytest.param(
        KV + "Put",
        b"\x00\x01",
        f"{UNREADABLE}: proto: PutRequest: illegal tag 0 (wire type 0)",
        UNREADABLE,
        id="a field of number 0",
    ),
    pytest.param(
        KV + "Put",
        b"\x08\x05",
        f"{UNREADABLE}: proto: wrong wireType = 0 for field Key",
        "error INVALID_ARGUMENT: etcdserver: key is not provided",
        id="a number as key",
    ),
    pytest.param(AUTH + "RoleAdd", NOT_UTF8, "ok", UNREADABLE, id="a name that is no text"),
    pytest.param(CLUSTER + "MemberAdd", NOT_UTF8, BAD_URLS, UNREADABLE, id="a url that is no text"),
    pytest.param(
        "/etcdserverpb.None/Put",
        b"",
        "error UNIMPLEMENTED: unknown service etcdserverpb.None",
        "error UNIMPLEMENTED: unknown method Put for service etcdserverpb.None",
        id="no such service",
    ),
)


@pytest.mark.parametrize(("path", "data", "etcd", "ours"), DIFFERENT)
def test_what_cannot_be_read_is_refused(
    pair: Pair, path: str, data: bytes, etcd: str, ours: str
) -> None:
    assert pair.raw(path, data) == Answers(etcd, ours)
