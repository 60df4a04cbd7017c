"""Every command that the README shows works as it stands, one after another in one shell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.cluster import ROOT, Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cluster")]

README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    """The lines after a prompt, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def in_test_cluster(command: str, cluster: Cluster) -> str:
    """The command, with the addresses and files of the test's own cluster.

    `make` becomes the command that the Makefile's target runs, for the tests' own interpreter.
    """
    config = cluster.home.get_cluster()
    addresses = {"6444": config.grpc}
    for port, member in zip(("2379", "22379", "32379"), config.members, strict=True):
        addresses[port] = member.client_url.removeprefix("https://")
    command = re.sub(r"127\.0\.0\.1:(\d+)", lambda match: addresses[match[1]], command)
    command = command.replace(".kubraft/", f"{cluster.home.path}/")
    made = re.fullmatch(r"make (up|status|kill|start)(?: MEMBER=(\S+))?", command)
    return f"kubraft {made[1]} {made[2] or ''}" if made else command


@pytest.mark.timeout(300)
def test_the_commands_of_the_readme_work(cluster: Cluster, tmp_path: Path) -> None:
    found = commands()
    assert any("Objects/Put" in line for line in found)
    assert any("etcdctl" in line for line in found)
    kubraft = tmp_path / "kubraft"
    python = "from kubraft.cli import main; main()"
    kubraft.write_text(f'#!/bin/sh\nexec python -c "{python}" "$@"\n')
    kubraft.chmod(0o700)
    script = ["set -e", f"export PATH={tmp_path}:$PATH"]
    for line in found:
        script += [f"echo '--' {len(script)}", in_test_cluster(line, cluster)]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=ROOT,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"text": "hello"' in done.stdout
    assert '"type": "ADDED"' in done.stdout
    assert "\nblue\n" in done.stdout
    cluster.kubraft("delete", "deployment/web", "configmap/greeting")
    cluster.etcdctl("del", "color")


def test_every_target_it_names_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^ +|\$ )make ([a-z]+)", README, re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("target", ["up", "status", "down", "clean", "kill", "start"])
def test_a_make_target_runs_the_command_of_its_name(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert recipe is not None
    assert f"$(KUBRAFT) {target}" in recipe[1]
