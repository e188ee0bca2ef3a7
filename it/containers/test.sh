#!/usr/bin/env bash
# Brings docker-compose.yml up on a container engine of its own, orders, kills, and has the checker judge: see README.md beside this file.
# Ends with 77, and one line, where it cannot run. STACK_BIN_DIR: the folder of our programs (target/debug).
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$here/../..")
cd "$root"
kills=4
[ -z "${LONG:-}" ] || kills=20
programs=$(readlink -f "${STACK_BIN_DIR:-${CARGO_TARGET_DIR:-target}/debug}")

skip() { echo "compose not brought up: $1" >&2; exit 77; }
say() { echo "[$SECONDS s] $*"; }

[ "$(id -u)" = 0 ] || skip "a container engine of its own needs root"
for program in dockerd docker docker-compose debootstrap curl python3; do
  command -v "$program" >/dev/null || skip "no $program — as root: apt-get install docker.io docker-compose debootstrap curl python3"
done
cache=${STACK_CACHE_DIR:-/var/cache/saga-stack}
parts=$(echo "$cache"/parts-*)
[ -d "$parts/kafka" ] || skip "the real parts are not fetched: $programs/stack fetch"

work=$(mktemp -d "${TMPDIR:-/tmp}/saga-containers-XXXXXX")
export DOCKER_HOST=unix://$work/socket DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0
# legacy client settings of the machine's user are none of this test's
export DOCKER_CONFIG=$work/config HOME=$work
compose=(docker-compose --project-name "saga$$" --env-file compose.dev.env -f docker-compose.yml -f it/containers/override.yml)
engine=

clean() {
  local code=$?
  trap - EXIT
  set +e
  if [ -n "$engine" ]; then
    if [ "$code" != 0 ]; then
      "${compose[@]}" ps
      "${compose[@]}" logs --tail 30 --no-color | cut -c1-300
      grep -E 'level=(error|fatal)' "$work/dockerd.log" | tail -n 5
    fi
    timeout 120 "${compose[@]}" down --volumes --timeout 5 >/dev/null 2>&1
    kill "$engine"
    wait "$engine" 2>/dev/null
  fi
  # what a killed engine leaves mounted
  awk -v work="$work" 'index($2, work) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
  rm -rf "$work"
  exit "$code"
}
trap clean EXIT

start_engine() {
  dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/run" --pidfile "$work/pid" --bridge none \
    --default-address-pool base=10.213.0.0/16,size=24 >"$work/dockerd.log" 2>&1 &
  engine=$!
  local tries=0
  until docker info >/dev/null 2>&1; do
    tries=$((tries + 1))
    if ! kill -0 "$engine" 2>/dev/null || [ "$tries" -gt 150 ]; then
      local why
      why=$(grep -o 'failed to .*' "$work/dockerd.log" | tail -n 1)
      engine=
      skip "dockerd does not run here: ${why:-see its log}"
    fi
    sleep 0.2
  done
}

# One Debian for all images; kept between runs, since it takes half a minute and comes from the mirror this machine's apt uses.
base_image() {
  local archive=$cache/containers-base-1.tar mirror
  if [ ! -f "$archive" ]; then
    mirror=$(apt-get indextargets --format '$(SITE)' 2>/dev/null | head -n 1)
    debootstrap --variant=minbase --include=curl,postgresql-client,ca-certificates bookworm "$work/debian" "${mirror:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 ||
      { tail -n 3 "$work/debootstrap.log" >&2; skip "debootstrap cannot reach a mirror of Debian"; }
    rm -rf "$work/debian/var/cache/apt" "$work/debian/var/lib/apt/lists"
    tar -C "$work/debian" -cf "$archive.new" . && mv "$archive.new" "$archive"
    rm -rf "$work/debian"
  fi
  docker import "$archive" debian:bookworm-slim >/dev/null
}

# Builds an image from a folder: NAME FOLDER [more options]. Without a network: everything is in the folder.
build() {
  docker build --network none --tag "$1" "${@:3}" "$2" >"$work/build.log" 2>&1 || { tail -n 20 "$work/build.log" >&2; return 1; }
}

images() {
  base_image
  local context=$work/context jre
  mkdir -p "$context/java" && cp "$here/java.Dockerfile" "$context/java/Dockerfile"
  jre=$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")
  mkdir "$context/java/jre" && cp -aL "$jre"/{bin,conf,lib} "$context/java/jre/" 2>/dev/null || [ -x "$context/java/jre/bin/java" ]
  rm -rf "$context/java/jre/"{jmods,legal,man}
  build saga/java "$context/java"
  cp -a "$here/kafka" "$context/kafka" && cp -a "$parts/kafka" "$context/kafka/libs"
  build "$(image kafka)" "$context/kafka"
  cp -a "$here/postgres" "$context/postgres" && cp -a "$parts/postgres" "$context/postgres/postgres"
  build "$(image postgres)" "$context/postgres"
  cp -a "$here/registry" "$context/registry" && cp -a "$parts/registry" "$context/registry/registry"
  build "$(image registry)" "$context/registry"
  ours "$context/ours"
  rm -rf "$context"
}

# The name that the compose file gives a service's image.
image() {
  "${compose[@]}" config | python3 -c 'import re, sys
service = re.search(r"^  " + re.escape(sys.argv[1]) + r":\n((?:    .*\n)+)", sys.stdin.read(), re.M).group(1)
print(re.search(r"^    image: (\S+)", service, re.M).group(1))' "$1"
}

# Our Dockerfile from its runtime stage on, with build stages that hold what cargo and npm made outside. The storefront is not what is
# tested here: where web/dist was not built, one page stands for it.
ours() {
  local program
  mkdir -p "$1/out" "$1/stack" "$1/dist"
  if [ -d web/dist ]; then cp -a web/dist/. "$1/dist/"; else echo '<!doctype html><title>Orders</title>' >"$1/dist/index.html"; fi
  cp -a stack/compose "$1/stack/"
  for program in order-service inventory-service payment-service api-gateway; do
    strip -o "$1/out/$program" "$programs/$program"
  done
  { printf 'FROM scratch AS build\nCOPY out /out\nFROM scratch AS web\nCOPY dist /src/dist\n'; sed -n '/^FROM .* AS runtime$/,$p' Dockerfile; } >"$1/Dockerfile"
  for program in order-service inventory-service payment-service api-gateway; do
    build "saga/$program" "$1" --target "$program"
  done
}

id_of() { "${compose[@]}" ps -q "$1"; }
health() { docker inspect --format '{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}}' "$(id_of "$1")"; }

core=(postgres kafka registry order-service inventory-service payment-service api-gateway)
all_healthy() {
  local deadline=$((SECONDS + 240)) service
  for service in "${core[@]}"; do
    until [ "$(health "$service")" = healthy ]; do
      [ "$SECONDS" -lt "$deadline" ] || { echo "$service is $(health "$service")" >&2; return 1; }
      sleep 0.5
    done
  done
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

call() { curl -s -m 20 -H 'X-Customer-Id: compose' -H 'Content-Type: application/json' "$@"; }

# Places one order; its id.
order() {
  call "$gateway/v1/orders" -H "Idempotency-Key: order-$1" -d '{"lines":[{"sku":"boxed-tea","quantity":1}],"payment":{"token":"tok_ok"}}' |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])'
}

# Asks again under the same key until it is answered: what a client does during an outage.
surely_order() {
  local deadline=$((SECONDS + 180))
  until order "$1" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "order $1 is never taken" >&2; return 1; }
    sleep 0.5
  done
}

ended() { # ID STATUS
  local deadline=$((SECONDS + 180)) status
  while :; do
    status=$(call "$gateway/v1/orders/$1" | python3 -c 'import json, sys; print(json.load(sys.stdin).get("status"))' 2>/dev/null || true)
    [ "$status" != "$2" ] || return 0
    [ "$SECONDS" -lt "$deadline" ] || { echo "order $1 is ${status:-unknown}, not $2" >&2; return 1; }
    sleep 0.3
  done
}

start_engine
say "the engine runs: $(docker version --format '{{.Server.Version}}'), docker-compose $(docker-compose version --short)"
images
say "images: $(docker images --format '{{.Repository}}:{{.Tag}}' | sort | paste -sd ' ')"
GATEWAY_PORT=$(free_port)
export GATEWAY_PORT
gateway=http://127.0.0.1:$GATEWAY_PORT
"${compose[@]}" up --detach --no-build "${core[@]}" >"$work/up.log" 2>&1 || { tail -n 20 "$work/up.log" >&2; exit 1; }
all_healthy
say "every service is healthy"

call "$gateway/v1/products" -H 'Idempotency-Key: products' -o /dev/null \
  -d '[{"sku":"boxed-tea","name":"Tea","category":"test","brand":"it","price":{"minor":500,"currency":"USD"},"stock":1000}]'
first=$(surely_order first)
ended "$first" CONFIRMED
say "order $first placed through the published port is CONFIRMED"

# The containers are read-only and nobody's: what the file promises holds in the engine.
for service in order-service inventory-service payment-service api-gateway; do
  docker inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.Config.User}} {{.HostConfig.CapDrop}}' "$(id_of "$service")" | grep -qx 'true 10001:10001 \[ALL\]'
done

orders=()
for kill in $(seq "$kills"); do
  service=${core[RANDOM % ${#core[@]}]}
  pid=$(docker inspect --format '{{.State.Pid}}' "$(id_of "$service")")
  if [ "$pid" != 0 ] && kill -9 "$pid" 2>/dev/null; then say "kill $kill: $service"; fi
  orders+=("$(surely_order "$kill")")
done
all_healthy
for id in "${orders[@]}"; do ended "$id" CONFIRMED; done
say "${#orders[@]} orders placed under kills are CONFIRMED"

# The checker has to reach Kafka under the name that the broker tells it: from inside the network.
set -a
# shellcheck source=/dev/null
source compose.dev.env
set +a
network=$(docker network ls --format '{{.Name}}' | grep "^saga$$")
docker run --rm --network "$network" --volume "$programs/it:/it:ro" debian:bookworm-slim /it check \
  --kafka kafka:9092 --registry http://registry:8080/apis/ccompat/v7 \
  --orders-db "postgres://reader:$READER_PASSWORD@postgres:5432/orders" \
  --inventory-db "postgres://reader:$READER_PASSWORD@postgres:5432/inventory" \
  --payments-db "postgres://reader:$READER_PASSWORD@postgres:5432/payments" \
  --provider-db "postgres://reader:$READER_PASSWORD@postgres:5432/provider"
say "the checker is clean after $kills kills"
