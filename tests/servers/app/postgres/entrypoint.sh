#!/bin/sh
# What the official image does at its first start: a cluster whose superuser is POSTGRES_USER, and
# the database POSTGRES_DB.
set -eu
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R postgres:postgres "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    file=$(mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" > "$file"
    initdb --username="${POSTGRES_USER:=postgres}" --pwfile="$file" --encoding=UTF8 \
        --auth-local=trust --auth-host=scram-sha-256
    rm "$file"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl -w start -o "-c listen_addresses=''"
    createdb --username="$POSTGRES_USER" "${POSTGRES_DB:-$POSTGRES_USER}"
    pg_ctl -w -m fast stop
fi
exec "$@" -c listen_addresses='*'
