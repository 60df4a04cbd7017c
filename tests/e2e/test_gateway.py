"""The JSON gateway and the probes beside etcd's: the same requests, the same answers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.e2e.store_cluster import StoreCluster

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("gateway")]

# Of responses: what must be as etcd's. The rest are dates, lengths and connections.
_HEADERS = ("content-type", "grpc-metadata-content-type", "allow", "access-control-allow-origin")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Front:
    """The client port of a member, by HTTP/1.1."""

    def __init__(self, url: str) -> None:
        self._place = url.partition("://")[2]

    def ask(
        self,
        path: str,
        body: bytes | str = b"",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        lines: int | None = None,
    ) -> Answer:
        """Of a stream that does not end, the first `lines`."""
        connection = http.client.HTTPConnection(self._place, timeout=30)
        try:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            if lines is None:
                content = response.read()
            else:
                content = b"".join(response.readline() for _ in range(lines))
            shown = {name: value for name in _HEADERS if (value := response.getheader(name))}
            return Answer(response.status, shown, content)
        finally:
            connection.close()


class Pair(NamedTuple):
    ours: Front
    etcds: Front


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with (
        StoreCluster(tmp_path_factory.mktemp("ours"), members=1, tls=False) as ours,
        StoreCluster(tmp_path_factory.mktemp("etcd"), members=1, tls=False, etcd=True) as etcd,
    ):
        for cluster in (ours, etcd):
            cluster.start()
        for cluster in (ours, etcd):
            cluster.wait_ready()
        yield Pair(Front(ours.client_url("store-0")), Front(etcd.client_url("store-0")))


def told(answer: Answer) -> tuple[int, dict[str, str], Any]:
    """The answer without what is different from cluster to cluster."""
    if answer.headers.get("content-type") != "application/json":
        return (*answer[:2], answer.body)
    lines = [json.loads(line) for line in answer.body.splitlines()]
    return (*answer[:2], [_without_ids(line) for line in lines])


def _without_ids(value: Any) -> Any:
    value = value.get("result", value)
    value.pop("header", None)
    return value


def put_of(triples: int) -> str:
    return json.dumps({"key": "YQ==", "value": "YWFh" * triples})


BODIES = [
    pytest.param("kv/range", '{"key":"Zm9v"}', id="range"),
    pytest.param("kv/range", '{"key":"Zm9v","sort_order":"DESCEND","limit":"1"}', id="options"),
    pytest.param("kv/range", '{"key":"Zm9v","sortOrder":1,"keysOnly":true}', id="camel-case"),
    pytest.param("kv/range", '{"key":"AA==","range_end":"AA==","limit":2}', id="all-keys"),
    pytest.param("kv/range", '{"key":"Zm9v","serializable":true,"nosuch":{"a":[1]}}', id="unknown"),
    pytest.param("kv/range", '{"key":"Zm9v","limit":null,"sort_target":1}', id="null-and-number"),
    pytest.param("kv/range", "", id="nothing"),
    pytest.param("kv/range", "  \n", id="blank"),
    pytest.param("kv/range", "null", id="null"),
    pytest.param("kv/range", '{"key":"Zm9v"} trailing', id="trailing"),
    pytest.param("kv/range", '{"key":', id="cut-off"),
    pytest.param("kv/range", "nul", id="literal-cut-off"),
    pytest.param("kv/range", "[]", id="array"),
    pytest.param("kv/range", '"x"', id="string"),
    pytest.param("kv/range", "12", id="number"),
    pytest.param("kv/range", "xx", id="no-json"),
    pytest.param("kv/range", '{"key":tru}', id="literal"),
    pytest.param("kv/range", '{"key":-}', id="minus"),
    pytest.param("kv/range", '{"key":1.}', id="point"),
    pytest.param("kv/range", '{"key":1e}', id="exponent"),
    pytest.param("kv/range", '{"key":0x1}', id="hexadecimal"),
    pytest.param("kv/range", '{"key":NaN}', id="nan"),
    pytest.param("kv/range", "{key:1}", id="bare-key"),
    pytest.param("kv/range", '{"key" 1}', id="no-colon"),
    pytest.param("kv/range", '{"key":[1 2]}', id="no-comma"),
    pytest.param("kv/range", '{"a":1,}', id="comma-at-end"),
    pytest.param("kv/range", "[1,]", id="comma-at-end-of-array"),
    pytest.param("kv/range", r'{"key":"a\qb"}', id="escape"),
    pytest.param("kv/range", r'{"key":"\u00zz"}', id="unicode-escape"),
    pytest.param("kv/range", '{"key":"a\tb"}', id="control-character"),
    pytest.param("kv/range", r'{"key":"\ud800"}', id="half-a-surrogate"),
    pytest.param("kv/range", '{"key":"é"}', id="not-ascii"),
    pytest.param("kv/range", "{'key':1}", id="single-quotes"),
    pytest.param("kv/range", '{"key":1}', id="number-for-bytes"),
    pytest.param("kv/range", '{"key":{}}', id="object-for-bytes"),
    pytest.param("kv/range", '{"key":"!!"}', id="no-base64"),
    pytest.param("kv/range", '{"key":"Zm9"}', id="base64-without-padding"),
    pytest.param("kv/range", '{"key":"Zm9vY"}', id="base64-with-one-more"),
    pytest.param("kv/range", '{"key":"Zm=v"}', id="base64-padding-within"),
    pytest.param("kv/range", '{"key":"Zg==Zg=="}', id="base64-after-padding"),
    pytest.param("kv/range", '{"key":"Zg="}', id="base64-half-padding"),
    pytest.param("kv/range", '{"key":"_-=="}', id="base64-of-urls"),
    pytest.param("kv/range", r'{"key":"Zm9v\nYg=="}', id="base64-in-lines"),
    pytest.param("kv/range", '{"key":"YQ==","limit":"x"}', id="text-for-number"),
    pytest.param("kv/range", '{"key":"YQ==","limit":""}', id="empty-number"),
    pytest.param("kv/range", '{"key":"YQ==","limit":" 1"}', id="number-after-blank"),
    pytest.param("kv/range", '{"key":"YQ==","limit":"12a"}', id="number-with-tail"),
    pytest.param("kv/range", '{"key":"YQ==","limit":1.0}', id="float"),
    pytest.param("kv/range", '{"key":"YQ==","limit":"1e2"}', id="exponent-for-number"),
    pytest.param("kv/range", '{"key":"YQ==","limit":9223372036854775808}', id="too-large-number"),
    pytest.param("kv/range", '{"key":"YQ==","limit":true}', id="bool-for-number"),
    pytest.param("kv/range", '{"key":"YQ==","limit":[1]}', id="array-for-number"),
    pytest.param("kv/range", '{"key":"YQ==","serializable":"true"}', id="text-for-bool"),
    pytest.param("kv/range", '{"key":"YQ==","serializable":1}', id="number-for-bool"),
    pytest.param("kv/range", '{"key":"YQ==","sort_order":"NOPE"}', id="no-such-enum"),
    pytest.param("kv/range", '{"key":"YQ==","sort_order":"1"}', id="enum-number-as-text"),
    pytest.param("kv/range", '{"key":"YQ==","sort_order":{}}', id="object-for-enum"),
    pytest.param("kv/txn", '{"success":{}}', id="object-for-list"),
    pytest.param("kv/txn", '{"success":[1]}', id="number-for-message"),
    pytest.param("kv/txn", '{"success":[null]}', id="null-for-message"),
    pytest.param("auth/user/get", '{"name":5}', id="number-for-text"),
    pytest.param(
        "kv/txn",
        '{"compare":[{"target":"VALUE","key":"Zm9v","value":"YmFy"},'
        '{"target":"VERSION","key":"bmV3","version":"0","result":"EQUAL"}],'
        '"success":[{"requestRange":{"key":"Zm9v"}},{"request_range":{"key":"bmV3"}}]}',
        id="txn",
    ),
    pytest.param("kv/range", '{"key":""}', id="no-key"),
    pytest.param("kv/range", '{"key":"YQ==","revision":"900"}', id="future-revision"),
    pytest.param("kv/compaction", '{"revision":"900"}', id="future-compaction"),
    pytest.param("lease/revoke", '{"ID":"123"}', id="no-such-lease"),
    pytest.param("kv/lease/timetolive", '{"ID":"123"}', id="time-to-live"),
    pytest.param("election/leader", '{"name":"bm8="}', id="no-leader"),
    pytest.param("election/proclaim", "{}", id="proclaim-nothing"),
    pytest.param("auth/enable", "{}", id="auth-without-root"),
    pytest.param("auth/authenticate", '{"name":"a","password":"b"}', id="auth-off"),
    pytest.param("auth/user/get", '{"name":"nobody"}', id="no-such-user"),
    pytest.param("maintenance/alarm", '{"action":"GET"}', id="alarms"),
    pytest.param("maintenance/transfer-leadership", '{"targetID":"1"}', id="bad-transferee"),
    pytest.param("watch", "[]", id="watch-an-array"),
    pytest.param("watch", '{"create_request":{"key":"!"}}', id="watch-no-base64"),
    pytest.param("watch", '{"create_request":{"key":"Zg=="}', id="watch-cut-off"),
    pytest.param("lease/keepalive", "", id="keep-nothing-alive"),
    pytest.param("lease/keepalive", '{"ID":"1"} {"ID":"2"}{"ID":x', id="keep-two-alive"),
    pytest.param("nosuch", "{}", id="no-such-path"),
    pytest.param("", "", id="root"),
]


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_body_is_answered_as_by_etcd(pair: Pair, path: str, body: str) -> None:
    for front in pair:
        front.ask("/v3/kv/put", '{"key":"Zm9v","value":"PD4m4oKs"}')
    assert told(pair.ours.ask(f"/v3/{path}", body)) == told(pair.etcds.ask(f"/v3/{path}", body))


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        pytest.param("/v3/kv/range", "GET", {}, id="get"),
        pytest.param("/v3/kv/range", "PUT", {}, id="put"),
        pytest.param("/v3/kv/range", "OPTIONS", {}, id="options"),
        pytest.param("/v3beta/kv/range", "POST", {}, id="older-prefix"),
        pytest.param("/v3alpha/kv/range", "POST", {}, id="oldest-prefix"),
        pytest.param("/v3/kv/range?key=YQ%3D%3D", "POST", {}, id="query"),
        pytest.param("/v3/kv/range", "POST", {"Grpc-Timeout": "x"}, id="malformed-timeout"),
        pytest.param("/v3/kv/range", "POST", {"Authorization": "nonsense"}, id="useless-token"),
        pytest.param("/v3/kv/range", "POST", {"Content-Type": "text/plain"}, id="content-type"),
        pytest.param("/nosuch", "GET", {}, id="nowhere"),
        pytest.param("/", "GET", {}, id="root"),
        pytest.param("/health", "GET", {}, id="health"),
        pytest.param("/health", "HEAD", {}, id="health-head"),
        pytest.param("/health?exclude=NOSPACE", "GET", {}, id="health-excluding"),
        pytest.param("/version", "POST", {}, id="version-post"),
        pytest.param("/health", "GET", {"Origin": "http://somewhere"}, id="origin"),
    ],
)
def test_request_is_answered_as_by_etcd(
    pair: Pair, path: str, method: str, headers: dict[str, str]
) -> None:
    ours, etcds = (front.ask(path, method=method, headers=headers) for front in pair)
    assert told(ours) == told(etcds)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(put_of(520 << 10), id="above-the-limit"),
        pytest.param(put_of(800 << 10), id="above-grpcs"),
    ],
)
def test_large_request_is_refused_as_by_etcd(pair: Pair, body: str) -> None:
    ours, etcds = (front.ask("/v3/kv/put", body) for front in pair)
    assert ours[:2] == etcds[:2]
    assert json.loads(ours.body)["code"] == json.loads(etcds.body)["code"]
    assert json.loads(ours.body)["error"][:40] == json.loads(etcds.body)["error"][:40]


def test_watch_is_a_stream_of_lines(pair: Pair) -> None:
    answers = []
    for front in pair:
        body = '{"key":"d2F0Y2hlZA==","value":"YmFy"}'
        header = json.loads(front.ask("/v3/kv/put", body).body)["header"]
        create = {"key": "d2F0Y2hlZA==", "start_revision": header["revision"], "watch_id": "7"}
        body = json.dumps({"create_request": create})
        answers.append(told(front.ask("/v3/watch", body, lines=2)))
    ours, etcds = answers
    for kept in ("create_revision", "mod_revision", "version"):
        for answer in answers:
            answer[2][1]["events"][0]["kv"].pop(kept)
    assert ours == etcds


def test_users_are_kept_out_as_by_etcd(pair: Pair) -> None:
    def story(front: Front) -> list[Any]:
        found = []

        def ask(path: str, body: str, **headers: str) -> Answer:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = front.ask(f"/v3/{path}", body, headers=sent)
            found.append((path, told(answer)))
            return answer

        root = '{"name":"root","password":"r"}'
        put = '{"key":"YQ==","value":"PD4m4oKs"}'
        ask("auth/user/add", root)
        ask("auth/user/add", root)
        ask("auth/user/grant", '{"user":"root","role":"root"}')
        ask("auth/role/add", '{"name":"root"}')
        ask("auth/user/grant", '{"user":"root","role":"root"}')
        ask("auth/enable", "{}")
        ask("kv/put", put)
        ask("kv/put", put, Authorization="nonsense")
        ask("auth/authenticate", '{"name":"root","password":"x"}')
        answer = front.ask("/v3/auth/authenticate", root)
        assert answer.status == 200, answer
        token = json.loads(answer.body)["token"]
        ask("kv/put", put, Authorization=token)
        ask("kv/put", put, Grpc_Metadata_Token=token)
        ask("auth/role/add", '{"name":"w"}', Authorization=token)
        grant = '{"name":"w","perm":{"permType":"READWRITE","key":"YQ==","range_end":"Yg=="}}'
        ask("auth/role/grant", grant, Authorization=token)
        ask("auth/role/get", '{"role":"w"}', Authorization=token)
        ask("auth/role/get", '{"role":"w"}')
        ask("auth/user/list", "{}", Authorization=token)
        ask("auth/disable", "{}", Authorization=token)
        ask("auth/role/delete", '{"role":"w"}')
        ask("auth/user/delete", '{"name":"root"}')
        ask("auth/role/delete", '{"role":"root"}')
        return found

    ours, etcds = (story(front) for front in pair)
    assert ours == etcds


@pytest.mark.parametrize("path", ["lease", "kv/lease"])
def test_leases_are_granted_listed_and_revoked_as_by_etcd(pair: Pair, path: str) -> None:
    def story(front: Front) -> list[Any]:
        granted = front.ask("/v3/lease/grant", '{"ID":"4711","TTL":"600"}')
        listed = json.loads(front.ask(f"/v3/{path}/leases", "{}").body)["leases"]
        kept = front.ask("/v3/lease/keepalive", '{"ID":"4711"}')
        revoked = front.ask(f"/v3/{path}/revoke", '{"ID":4711}')
        return [told(granted), {"ID": "4711"} in listed, told(kept), told(revoked)]

    ours, etcds = (story(front) for front in pair)
    assert ours == etcds


def test_lock_waits_until_its_deadline_as_in_etcd(pair: Pair) -> None:
    def story(front: Front) -> list[Any]:
        lock = '{"name":"bG9jaw=="}'
        first = front.ask("/v3/lock/lock", lock)
        assert first.status == 200, first
        key = json.loads(first.body)["key"]
        second = front.ask("/v3/lock/lock", lock, headers={"Grpc-Timeout": "300m"})
        unlocked = front.ask("/v3/lock/unlock", json.dumps({"key": key}))
        return [told(second), told(unlocked)]

    ours, etcds = (story(front) for front in pair)
    assert ours == etcds
