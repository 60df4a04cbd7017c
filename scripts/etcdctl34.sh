#!/usr/bin/env bash
# etcdctl 3.4 as Debian 12 ships it, beside the other clients that tests drive; nothing is installed.
# usage: scripts/etcdctl34.sh BIN_DIRECTORY
set -euo pipefail
bin=$(cd "$1" && pwd)
[ -x "$bin/etcdctl-3.4" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
chmod 755 .
for attempt in 1 2 3; do
    apt-get download -qq etcd-client 2>/dev/null && break
    [ "$attempt" = 3 ] && { echo "etcdctl34: no package etcd-client to be had" >&2; exit 1; }
    sleep $((attempt * 5))
    apt-get update -qq || true
done
dpkg -x etcd-client_*.deb .
[[ $(ETCDCTL_API=3 usr/bin/etcdctl version) == "etcdctl version: 3.4."* ]] || {
    echo "etcdctl34: this Debian has another version: $(ls etcd-client_*.deb)" >&2
    exit 1
}
install -m 755 usr/bin/etcdctl "$bin/etcdctl-3.4"
