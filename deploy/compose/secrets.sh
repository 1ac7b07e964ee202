#!/bin/sh
# Makes what compose.yaml takes as secrets, once: random ones, and a certificate of our own for
# localhost, to be replaced by yours. What is there already stays.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
new() {
    [ -e "secrets/$1" ] || { umask 077; printf '%s\n' "$2" >"secrets/$1"; }
    chmod 640 "secrets/$1"
    # Compose mounts files as they are, and this is the group of the images' user. Only root may give files
    # to it; for others every user of a container may read them, and on this machine nobody but you: the
    # folder is closed.
    chgrp 10001 "secrets/$1" 2>/dev/null || chmod 644 "secrets/$1"
}
new admin_key "$(openssl rand -hex 32)"
new postgres_password "$(openssl rand -hex 24)"
new grafana_password "$(openssl rand -hex 16)"
new redis_url "redis://redis:6379/0"
new ledger_url "postgresql://tollgate:$(cat secrets/postgres_password)@postgres:5432/tollgate"
if [ ! -e secrets/tls_key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 \
        -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout secrets/tls_key -out secrets/tls_certificate 2>/dev/null
fi
echo "secrets/ has: $(ls secrets | tr '\n' ' ')"
