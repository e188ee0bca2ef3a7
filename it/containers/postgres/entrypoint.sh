#!/bin/bash
# As the image's own: an empty volume is initialised and the scripts of /docker-entrypoint-initdb.d are run on a server that only listens on
# its socket; then the server takes this process.
set -euo pipefail
export PGDATA=${PGDATA:-/var/lib/postgresql/18/docker}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA"
  # shellcheck disable=SC2086 # several options
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s' "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS >&2
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  export PGPASSWORD=$POSTGRES_PASSWORD PGHOST=/var/run/postgresql
  pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=/var/run/postgresql" start >&2
  for script in /docker-entrypoint-initdb.d/*.sh; do bash "$script" >&2; done
  pg_ctl -w -m fast stop >&2
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
