# Sourced by ./run and ./test: installs what building and running needs, or says in one line what is missing.
# shellcheck shell=bash

# name|Debian package|command
NEEDS='Maven|maven|mvn
CMake|cmake|cmake
a C compiler|build-essential|cc
a C++ compiler|build-essential|c++
make|make|make
Perl|perl|perl
pkg-config|pkg-config|pkg-config
tar|tar|tar
xz|xz-utils|xz'

# apt_get PACKAGE…: installs as root, or through sudo when that asks nothing; fails otherwise.
apt_get() {
  local as=()
  command -v apt-get >/dev/null || return 1
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || return 1
    as=(sudo -n)
  fi
  echo "installing with apt: $*" >&2
  "${as[@]}" apt-get update -qq >/dev/null || true # an old list may do
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

node_is_new_enough() {
  command -v npm >/dev/null && node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 22 || (major === 22 && minor >= 12) || (major === 20 && minor >= 19) ? 0 : 1)' 2>/dev/null
}

# Builds the storefront into web/dist and says where it is; 77 where there is no Node.js for it. Debian 12's is too old, so apt is not asked.
build_web() {
  local stamp=web/node_modules/.installed
  if ! node_is_new_enough; then
    echo "no Node.js 20.19 or 22.12, which the storefront is built with (nodejs.org): the API goes without it" >&2
    return 77
  fi
  if ! cmp -s web/package-lock.json "$stamp"; then
    (cd web && npm ci --no-audit --no-fund --loglevel=error) && cp web/package-lock.json "$stamp" || return 1
  fi
  (cd web && npm run --silent build) >&2 || return 1
  export STACK_WEB_DIR=$PWD/web/dist
}

edge_is_installed() {
  [ -x /usr/sbin/haproxy ] && [ -x /usr/sbin/varnishd ]
}

# HAProxy and Varnish, as Debian has them; their own services are not started.
install_edge() {
  edge_is_installed || apt_get haproxy varnish || true
  edge_is_installed || { echo "missing: HAProxy and Varnish — as root: apt-get install haproxy varnish" >&2; return 1; }
}

java_is_new_enough() {
  local version
  version=$("${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${version:-0}" -ge 17 ]
}

# Fills the arrays `missing` (what a person calls it) and `packages`.
look_for_needs() {
  local name package program
  missing=() packages=()
  hash -r
  java_is_new_enough || { missing+=("Java 17"); packages+=(openjdk-17-jre-headless); }
  while IFS='|' read -r name package program; do
    command -v "$program" >/dev/null || { missing+=("$name"); packages+=("$package"); }
  done <<<"$NEEDS"
}

# Everything but Rust has a Debian package; Debian's Rust is older than rust-toolchain.toml asks for.
install_needs() {
  local missing packages list
  if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
  fi
  if ! command -v cargo >/dev/null; then
    echo "missing: Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) — install it with rustup (www.rust-lang.org/tools/install)" >&2
    return 1
  fi
  look_for_needs
  [ "${#missing[@]}" -gt 0 ] || return 0
  apt_get "${packages[@]}" || true # what is still missing is named below
  look_for_needs
  [ "${#missing[@]}" -gt 0 ] || return 0
  list=$(printf '%s, ' "${missing[@]}")
  echo "missing: ${list%, } — as root: apt-get install ${packages[*]}" >&2
  return 1
}
