#!/bin/bash
# Healthy means used: a schema is registered and read, under a subject of its own, once after each start; then listing subjects must work.
set -euo pipefail
base=http://127.0.0.1:8080/apis/ccompat/v7
curl -fsS "$base/subjects" >/dev/null
[ ! -e /tmp/used ] || exit 0
schema='{"schema":"{\"type\":\"record\",\"name\":\"Health\",\"namespace\":\"stack\",\"fields\":[]}"}'
id=$(curl -fsS -H 'Content-Type: application/json' -d "$schema" "$base/subjects/stack.health/versions" | tr -dc '0-9')
curl -fsS "$base/schemas/ids/$id" >/dev/null
curl -fsS -X DELETE "$base/subjects/stack.health" >/dev/null
touch /tmp/used
