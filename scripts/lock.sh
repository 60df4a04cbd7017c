#!/usr/bin/env bash
# Resolve pyproject.toml into the two lock files, for every Python and platform, with hashes.
# usage: scripts/lock.sh BIN_DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
compile() {
    "$bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 \
        --generate-hashes --no-header --no-annotate "$@"
}
compile --extra build --output-file requirements.lock
compile --extra build --extra dev --extra clients --constraint requirements.lock \
    --output-file requirements-dev.lock
