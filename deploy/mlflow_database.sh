#!/usr/bin/env bash
# Makes the PostgreSQL database `mlflow` on this machine and lets the calling user in through the local socket: no
# password, and nobody else. Asks for sudo. Does nothing where both are there.
set -euo pipefail
user=$(id -un)
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else sudo -n -u postgres "$@"; fi; }
there() { [ "$(as_postgres psql -tAc "SELECT 1 FROM $1 WHERE $2")" = 1 ]; }

cd / # a folder that the user postgres may enter
there pg_roles "rolname = '$user'" || as_postgres createuser "$user"
there pg_database "datname = 'mlflow'" || as_postgres createdb --owner "$user" mlflow
as_postgres psql -qc 'REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC'
