#!/bin/bash
# Runs once, on an empty volume: a database with an owner role and a restricted role for each service, and a role that reads everything.
set -euo pipefail

sql() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"; }

# passwords reach SQL as psql variables, so that any character in them is quoted
role() { # NAME PASSWORD
  sql --dbname postgres --set name="$1" --set password="$2" <<<"CREATE ROLE :\"name\" LOGIN PASSWORD :'password'"
}

role reader "$READER_PASSWORD"
sql --dbname postgres --command 'GRANT pg_read_all_data TO reader'
for name in orders inventory payments provider keys; do
  own=${name^^}_OWNER_PASSWORD
  restricted=${name^^}_PASSWORD
  role "${name}_owner" "${!own}"
  role "$name" "${!restricted}"
  sql --dbname postgres --command "CREATE DATABASE $name OWNER ${name}_owner"
  sql --dbname postgres --command "REVOKE ALL ON DATABASE $name FROM PUBLIC" --command "GRANT CONNECT ON DATABASE $name TO $name, reader"
done
# the keys of customers' data are nobody's to read but their service's
sql --dbname postgres --command 'REVOKE CONNECT ON DATABASE keys FROM reader'
# the simulator has no separate owner: it makes its own table
sql --dbname provider --command 'GRANT CREATE ON SCHEMA public TO provider'
