"""Fail where the lock files do not hold what pyproject.toml requires."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def locked(path: Path) -> dict[str, str]:
    """The version of each package in a lock file."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def problems() -> list[str]:
    """One line for each requirement that a lock does not meet."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    runtime = [*project["dependencies"], *extras["build"]]
    wanted = {
        "requirements.lock": runtime,
        "requirements-dev.lock": [*runtime, *extras["dev"], *extras["clients"]],
    }
    found = []
    for name, requirements in wanted.items():
        pins = locked(ROOT / name)
        for requirement in map(Requirement, requirements):
            version = pins.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                found.append(f"{name}: {requirement} is not met ({version}): run `make lock`")
    return found


if __name__ == "__main__":
    lines = problems()
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.exit(bool(lines))
