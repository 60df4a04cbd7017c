from __future__ import annotations

import pytest

from kubraft.containerd_programs import MissingProgramsError, containerd_programs


def found(name: str) -> str | None:
    return f"/usr/bin/{name}"


def test_all_programs_are_told_where_they_are() -> None:
    programs = containerd_programs(found, lambda: "/usr/lib/cni", lambda: 0)
    assert programs["runc"] == "/usr/bin/runc"
    assert programs.cni == "/usr/lib/cni"


@pytest.mark.parametrize(
    ("absent", "cni", "text"),
    [
        pytest.param({"containerd", "ctr"}, True, "apt-get install containerd", id="containerd"),
        pytest.param({"runc"}, True, "needs runc: apt-get install runc", id="runc"),
        pytest.param(set(), False, "apt-get install containernetworking-plugins", id="plugins"),
        pytest.param({"ip"}, False, "containernetworking-plugins iproute2", id="two packages"),
    ],
)
def test_what_is_missing_is_named_with_its_package(
    absent: set[str], text: str, *, cni: bool
) -> None:
    with pytest.raises(MissingProgramsError, match=text):
        containerd_programs(
            lambda name: None if name in absent else found(name),
            lambda: "/usr/lib/cni" if cni else None,
            lambda: 0,
        )


def test_an_ordinary_user_is_told_of_root() -> None:
    with pytest.raises(MissingProgramsError, match="needs root"):
        containerd_programs(found, lambda: "/usr/lib/cni", lambda: 1000)
