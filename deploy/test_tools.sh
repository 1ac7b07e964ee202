#!/bin/sh
# Makes sure that a Redis server is installed: tests of shared limits start one of their own.
set -eu

if command -v redis-server >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ]; then
    root=
elif sudo -n true 2>/dev/null; then
    root=sudo
else
    echo "test: there is no redis-server; install it: apt-get install redis-server" >&2
    exit 1
fi
echo "test: installing redis-server with apt-get"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -qq
$root apt-get install -y -qq --no-install-recommends redis-server >/dev/null
