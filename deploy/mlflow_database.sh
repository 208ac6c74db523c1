#!/usr/bin/env bash
# Makes the PostgreSQL database `mlflow` on this machine and lets the calling user in through the local socket: no
# password, and nobody else. Does nothing where that user is let in already; else it needs sudo without a password.
#
# State: a slow test runs it against a PostgreSQL of its own (15), with a stand-in for sudo.
set -euo pipefail
user=$(id -un)
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else sudo -n -u postgres "$@"; fi; }
there() { [ "$(as_postgres psql -tAc "SELECT 1 FROM $1 WHERE $2")" = 1 ]; }
# The caller may enter, and not everybody may: true at the end of what follows alone.
made() {
  local open
  open=$(psql -XwtA -d mlflow -c "SELECT has_database_privilege('public', 'mlflow', 'CONNECT')" 2> /dev/null) &&
    [ "$open" = f ]
}

cd / # a folder that the user postgres may enter
made && exit
as_postgres psql -XtAc 'SELECT 1' > /dev/null || {
  echo "mlflow_database: expected a server that $user may reach as 'postgres' (sudo without a password), got the" \
    "above. Allow it, or make the database \`mlflow\` by hand, owned by the role \`$user\`." >&2
  exit 1
}
there pg_roles "rolname = '$user'" || as_postgres createuser "$user"
there pg_database "datname = 'mlflow'" || as_postgres createdb --owner "$user" mlflow
as_postgres psql -qc 'REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC'
