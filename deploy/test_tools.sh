#!/bin/sh
# Makes sure that what tests run is installed: Redis, PostgreSQL and Prometheus (servers of their own),
# Node.js (clients; npm fetches their packages when their tests first run), Chromium (web pages).
set -eu

missing=
command -v redis-server >/dev/null 2>&1 || missing="redis-server"
if ! command -v prometheus >/dev/null 2>&1 || ! command -v promtool >/dev/null 2>&1; then
    missing="$missing prometheus"
fi
if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && ! command -v postgres >/dev/null 2>&1; then
    missing="$missing postgresql"
fi
command -v systemd-analyze >/dev/null 2>&1 || missing="$missing systemd"
for program in node npm; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing ${program}"
done
if ! command -v chromium >/dev/null 2>&1 && ! command -v chromium-browser >/dev/null 2>&1; then
    missing="$missing chromium"
fi
missing=$(echo "$missing" | sed "s/\bnode\b/nodejs/; s/^ *//")
if [ -z "$missing" ]; then
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    root=
elif sudo -n true 2>/dev/null; then
    root=sudo
else
    echo "test: not installed: $missing; install it: apt-get install $missing" >&2
    exit 1
fi
echo "test: installing $missing with apt-get"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -qq
# Debian would start a server of its own right away; the tests want only the programs.
if [ ! -e /etc/postgresql-common ]; then
    $root mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | $root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
$root apt-get install -y -qq --no-install-recommends $missing >/dev/null
