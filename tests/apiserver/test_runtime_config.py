"""Groups, versions and resources that are turned off are not there for clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from apiserver.registry.resources import TABLE
from apiserver.runtime_config import parse_runtime_config
from tests.apiserver.in_process import serving


@pytest.mark.parametrize(
    ("text", "offered", "not_offered"),
    [
        ("", ["v1/pods", "batch/v1/jobs"], []),
        ("batch/v1=false", ["v1/pods"], ["batch/v1/jobs"]),
        ("batch/v1=false,batch/v1/jobs=true", ["batch/v1/jobs"], ["batch/v1/cronjobs"]),
        ("api/all=false,v1=true", ["v1/pods"], ["apps/v1/deployments"]),
        ("api/all=false,api/ga=true", ["apps/v1/deployments"], ["x/v1beta1/things"]),
        ("api/beta=false,x/v1beta1=true", ["x/v1beta1/things"], ["y/v1beta1/things"]),
        ("apps/v1/deployments=false", ["apps/v1/replicasets"], ["apps/v1/deployments"]),
        ("batch/v1=", ["batch/v1/jobs"], []),
    ],
)
def test_what_is_said_of_less_counts_more(
    text: str, offered: list[str], not_offered: list[str]
) -> None:
    config = parse_runtime_config(text)
    for name in (*offered, *not_offered):
        group, version, plural = ("", *name.split("/"))[-3:]
        assert config.offers(group, version, plural) is (name in offered), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("api/all=false", "invalid key with only api/all=false"),
        ("apiall=false", "runtime-config invalid key apiall"),
        ("a/b/c/d=true", "runtime-config invalid key a/b/c/d"),
        ("api/all=perhaps", "invalid value api/all=perhaps"),
        ("batch/v1=perhaps", "invalid value of batch/v1: perhaps"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_runtime_config(text)


@pytest.mark.parametrize("name", ["nobody.io/v1", "batch/v1beta1", "apps/v1/nothings"])
def test_what_is_not_there_cannot_be_turned_on(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is not offered here"):
        parse_runtime_config(f"{name}=true").check(TABLE)
    parse_runtime_config(f"{name}=false").check(TABLE)


async def test_clients_do_not_find_what_is_turned_off(tmp_path: Path, pki: Path) -> None:
    off = "batch/v1=false,apps/v1/deployments=false,authentication.k8s.io/v1=false"
    async with serving(tmp_path, pki, f"--runtime-config={off}") as served:
        for path in (
            "/apis/batch/v1/jobs",
            "/apis/batch/v1",
            "/apis/apps/v1/deployments",
            "/openapi/v3/apis/batch/v1",
        ):
            assert (await served.ask("GET", path)).status == 404, path
        review = "/apis/authentication.k8s.io/v1/tokenreviews"
        assert (await served.ask("POST", review, {})).status == 404
        groups = [group["name"] for group in (await served.ask("GET", "/apis")).json()["groups"]]
        assert "batch" not in groups
        assert "apps" in groups
        found = (await served.ask("GET", "/apis/apps/v1")).json()["resources"]
        assert "deployments" not in {row["name"] for row in found}
        assert (await served.ask("GET", "/apis/apps/v1/replicasets")).status == 200
