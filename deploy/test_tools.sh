#!/bin/sh
# Makes sure that Redis and PostgreSQL are installed: tests start servers of their own.
set -eu

missing=
command -v redis-server >/dev/null 2>&1 || missing="redis-server"
if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && ! command -v postgres >/dev/null 2>&1; then
    missing="$missing postgresql"
fi
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
