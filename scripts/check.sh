#!/usr/bin/env bash
# What `make check` runs: each line is one check, and the first that fails ends it.
# usage: scripts/check.sh BIN_DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
run() {
    printf '%-14s' "$1"
    shift
    if output=$("$@" 2>&1); then echo ok; else echo FAILED; echo "$output"; exit 1; fi
}
run locks "$bin/python" scripts/verify_locks.py
run stubs "$bin/python" scripts/generate.py
run lint "$bin/ruff" check .
run format "$bin/ruff" format --check .
run types "$bin/mypy"
run layers "$bin/lint-imports"
