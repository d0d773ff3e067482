#!/usr/bin/env bash
# Finds, or on Debian-like systems installs, what the tests start for themselves: nats-server, PostgreSQL, PgBouncer,
# Chromium for the page, nginx as a proxy in front of the server, promtool for the metrics, libfaketime for a clock that jumps, and curl, jq
# and sqlite3, which the book's commands use; systemd-analyze, which checks files in deploy/, as nginx and promtool do; also
# Python's venv for Schemathesis and the schemas of those files, and a C++ compiler for libFuzzer, without which those checks
# say that they were not run. Changes nothing when all are there. The tests use private instances on free ports; no system
# service is needed, and those that a package would start are left off where that can be helped.
set -euo pipefail

has_nats() { [[ -x ${NATS_SERVER_BIN:-} ]] || command -v nats-server >/dev/null; }

has_postgres() {
  local folder
  for folder in "${PG_BIN:-}" /usr/lib/postgresql/*/bin; do
    [[ -x $folder/initdb && -x $folder/postgres ]] && return
  done
  command -v initdb >/dev/null && command -v postgres >/dev/null
}

has_pgbouncer() { [[ -x ${PGBOUNCER_BIN:-/usr/sbin/pgbouncer} ]] || command -v pgbouncer >/dev/null; }

has_chromium() { [[ -x ${CHROMIUM_BIN:-/usr/bin/chromium} ]]; }

has_faketime() { compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; }

# Missing programs that the book's commands use; their packages have the same names.
missing_tools() {
  local tool
  for tool in curl jq sqlite3; do command -v "$tool" >/dev/null || echo "$tool"; done
}

has_tools() { [[ -z $(missing_tools) ]]; }

has_nginx() { [[ -x ${NGINX_BIN:-/usr/sbin/nginx} ]] || command -v nginx >/dev/null; }

has_promtool() { [[ -x ${PROMTOOL_BIN:-} ]] || command -v promtool >/dev/null; }

has_systemd() { command -v systemd-analyze >/dev/null; }

has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

has_cxx() { command -v c++ >/dev/null; }

# Runs a command as root, without ever asking for a password.
as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

can_install() {
  command -v apt-get >/dev/null && as_root true 2>/dev/null
}

updated=no
install() {
  if [[ $updated == no ]]; then
    as_root apt-get update -qq || echo "setup: apt-get update failed; trying with the package lists as they are" >&2
    updated=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The packages' daemons are not wanted: only those that were off before are switched off again.
switch_off() {
  if command -v systemctl >/dev/null && systemctl is-active --quiet "$1" 2>/dev/null; then
    as_root systemctl disable --quiet --now "$1"
  fi
}

install_nats() {
  install nats-server
  switch_off nats-server
}

install_nginx() {
  install nginx
  switch_off nginx
}

# Its package has promtool too.
install_promtool() {
  install prometheus
  switch_off prometheus
  switch_off prometheus-node-exporter
}

install_systemd() { install systemd; }

install_postgres() {
  install postgresql-common
  # Otherwise the server's package would create and start a cluster.
  as_root sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
  install postgresql
}

install_pgbouncer() {
  install pgbouncer
  switch_off pgbouncer
}

install_chromium() { install chromium; }

install_faketime() { install libfaketime; }

# shellcheck disable=SC2046 # a list of words
install_tools() { install $(missing_tools); }

install_venv() { install python3-venv; }

install_cxx() { install g++; }

for what in nats postgres pgbouncer chromium faketime tools venv cxx nginx promtool systemd; do
  if ! "has_$what" && can_install; then
    echo "setup: installing $what" >&2
    "install_$what"
  fi
done

failed=no
if ! has_nats; then
  echo "setup: nats-server (2.9 or newer) is missing: put it in PATH, or name its file in NATS_SERVER_BIN" >&2
  failed=yes
fi
if ! has_postgres; then
  echo "setup: PostgreSQL's server programs (15 or newer: initdb, postgres) are missing: put them in PATH, or name their folder in PG_BIN" >&2
  failed=yes
fi
if ! has_pgbouncer; then
  echo "setup: pgbouncer is missing: put it in PATH, or name its file in PGBOUNCER_BIN" >&2
  failed=yes
fi
if ! has_chromium; then
  echo "setup: Chromium is missing: install it as /usr/bin/chromium, or name its file in CHROMIUM_BIN" >&2
  failed=yes
fi
if ! has_nginx; then
  echo "setup: nginx is missing: put it in PATH, or name its file in NGINX_BIN" >&2
  failed=yes
fi
if ! has_promtool; then
  echo "setup: promtool is missing: put it in PATH, or name its file in PROMTOOL_BIN" >&2
  failed=yes
fi
if ! has_faketime; then
  echo "setup: libfaketime is missing: install it under /usr/lib, where Debian has it" >&2
  failed=yes
fi
if ! has_tools; then
  echo "setup: missing, put them in PATH:" $(missing_tools) >&2
  failed=yes
fi
if [[ $(id -u) == 0 ]] && ! id postgres >/dev/null 2>&1; then
  echo "setup: PostgreSQL refuses to run as root, and there is no user 'postgres' to run it as" >&2
  failed=yes
fi
[[ $failed == no ]] || exit 1
