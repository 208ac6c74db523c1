#!/usr/bin/env bash
# Starts MLflow on this machine, for this machine alone (127.0.0.1), with PostgreSQL behind it and a login.
#
#   deploy/mlflow_server.sh s3://your-bucket/mlflow    artifacts there; or in a folder
#   . ~/mlflow/client.env                              MLFLOW_TRACKING_URI, name and password: before `ray start`
#
# Where this one already answers it does nothing. Everything lies in ~/mlflow (DFKD_MLFLOW_HOME), for its owner alone,
# and is made when it is not there: passwords, users, log. Other settings, as variables:
#   DFKD_MLFLOW_PORT      default 5000
#   DFKD_MLFLOW_DATABASE  default: what mlflow_database.sh makes; a managed one: postgresql+psycopg2://name:password@host/mlflow
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: deploy/mlflow_server.sh s3://bucket/prefix|/absolute/folder" >&2; exit 2; }

folder=${DFKD_MLFLOW_HOME:-$HOME/mlflow} port=${DFKD_MLFLOW_PORT:-5000}
address="http://127.0.0.1:$port"
answers() { curl --silent --fail --max-time 2 --noproxy '*' "$address/health" > /dev/null; }
# What the API answers to a request that needs a login; further arguments are curl's.
status() {
  curl --silent --output /dev/null --write-out '%{http_code}' --max-time 30 --noproxy '*' "$@" \
    "$address/api/2.0/mlflow/experiments/search?max_results=1" || true
}
# Whoever answers is our MLflow: it refuses strangers and takes our password, which curl reads from a pipe.
check_login() {
  local open login
  open=$(status)
  login=$(. ./client.env && printf 'user = "%s:%s"\n' "$MLFLOW_TRACKING_USERNAME" "$MLFLOW_TRACKING_PASSWORD" |
    status --config -)
  [ "$open $login" = "401 200" ] && return
  echo "mlflow_server: $address: expected MLflow with the login of $folder/client.env (401 without it, 200 with it)," \
    "got $open and $login. Another program holds the port: end it. Or the password was changed: correct it there." >&2
  exit 1
}
random() { python -c 'import secrets; print(secrets.token_urlsafe(32))'; }

umask 077
mkdir -p "$folder"
cd "$folder"
if [ ! -f client.env ]; then
  cat > auth.ini <<TEXT
[mlflow]
default_permission = READ
database_uri = sqlite:///$folder/users.db
admin_username = admin
auth_cache_ttl_seconds = 60
TEXT
  key=$(random) # `set -e` sees it fail here, not inside another command's arguments
  password=$(random)
  echo "export MLFLOW_FLASK_SERVER_SECRET_KEY=$key" > server.env
  printf 'export %s=%s\n' MLFLOW_TRACKING_URI "$address" MLFLOW_TRACKING_USERNAME admin \
    MLFLOW_TRACKING_PASSWORD "$password" > client.env.new
  mv client.env.new client.env # last, and whole: once it is there all is
fi
if answers; then
  check_login
  exit
fi

# Through the environment: everybody can read the arguments of a process.
. ./server.env
. ./client.env
export MLFLOW_AUTH_CONFIG_PATH="$folder/auth.ini" MLFLOW_AUTH_ADMIN_PASSWORD="$MLFLOW_TRACKING_PASSWORD"
export MLFLOW_BACKEND_STORE_URI="${DFKD_MLFLOW_DATABASE:-postgresql+psycopg2:///mlflow?host=/var/run/postgresql}"
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true
unset MLFLOW_TRACKING_URI MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD # the server is no client
setsid nohup mlflow server --host 127.0.0.1 --port "$port" --app-name basic-auth --artifacts-destination "$1" \
  --workers 2 >> server.log 2>&1 < /dev/null &
server=$!

for _ in $(seq 120); do
  if answers; then
    check_login
    exit
  fi
  kill -0 "$server" 2> /dev/null || break
  sleep 1
done
tail -n 20 server.log >&2
echo "mlflow_server: nothing answers at $address; see $folder/server.log" >&2
exit 1
