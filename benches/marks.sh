#!/usr/bin/env bash
# Measures the marks of docs/benchmarks.md, each beside what it is compared with, in one run on this machine. Needs
# nats-server, PostgreSQL's server programs and nginx; everything runs on loopback, in a temporary folder, and is gone
# afterwards. Build first: cargo build --release --bin living-map --example load --example history
#
#   benches/marks.sh [snapshot] [fanout] [connect] [idle] [ingest] [flood] [history] [greedy]
#
# history and greedy are measured only when they are named: history needs 15 GB of disk and some minutes for ROWS (10000000)
# rows, greedy a minute for each kind of client.
set -euo pipefail
cd "$(dirname "$0")/.."
marks=("$@")
[[ ${#marks[@]} -gt 0 ]] || marks=(snapshot fanout connect idle ingest flood)

target=${CARGO_TARGET_DIR:-target}/release
load=$target/examples/load
map=$target/living-map
history=$target/examples/history
postgres_bin=${PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)}
folder=$(mktemp -d)
ulimit -n "$(ulimit -Hn)"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT

port=${PORT_BASE:-27100}
map_port=$port nats_port=$((port + 1)) ws_port=$((port + 2)) postgres_port=$((port + 3)) nginx_port=$((port + 4))
map_url=http://127.0.0.1:$map_port/living-map
stream_url=ws://127.0.0.1:$map_port/living-map/stream
nats_url=nats://127.0.0.1:$nats_port
database_url=postgres://postgres@127.0.0.1:$postgres_port/postgres?sslmode=disable

until_answers() { # url
  for _ in $(seq 300); do
    curl --silent --fail --output /dev/null "$1" && return
    sleep 0.1
  done
  echo "no answer from $1" >&2
  cat "$folder"/*.log >&2
  exit 1
}

start() { # name, command...
  local name=$1
  shift
  "$@" >"$folder/$name.log" 2>&1 &
  started=$!
  pids+=("$started")
}

stop() { # pid
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# A server on the embedded defaults with a quiet network of 1,000 agents.
start_demo() {
  start map "$map" demo --port "$map_port" --agents 1000 --nodes 100 --microdaos 50 --events-per-second 0 \
    --log-level warn --sync-interval-seconds 3600
  map_pid=$started
  until_answers "$map_url/snapshot"
  for _ in $(seq 300); do
    [[ $(curl --silent "$map_url/snapshot?layers=agents" | grep -o '"id":"agent:' | wc -l) -ge 1000 ]] && return
    sleep 0.1
  done
  echo "the demo's agents do not come" >&2
  exit 1
}

start_nats() {
  cat >"$folder/nats.conf" <<CONF
listen: 127.0.0.1:$nats_port
jetstream { store_dir: "$folder/nats", max_file: 8GB }
websocket { listen: "127.0.0.1:$ws_port", no_tls: true }
CONF
  start nats nats-server --config "$folder/nats.conf"
  nats_pid=$started
  sleep 1
}

as_postgres() {
  if [[ $(id -u) == 0 ]]; then setpriv --reuid postgres --regid postgres --clear-groups "$@"; else "$@"; fi
}

start_postgres() {
  mkdir "$folder/postgres"
  if [[ $(id -u) == 0 ]]; then chmod 755 "$folder" && chown postgres "$folder/postgres"; fi
  (cd "$folder/postgres" && as_postgres "$postgres_bin/initdb" -D "$folder/postgres/data" -U postgres --auth=trust \
    --encoding=UTF8 --locale=C >/dev/null)
  start postgres as_postgres "$postgres_bin/postgres" -D "$folder/postgres/data" -p "$postgres_port" \
    -k "$folder/postgres" -c listen_addresses=127.0.0.1 -c shared_buffers=512MB -c max_wal_size=8GB
  postgres_pid=$started
  for _ in $(seq 100); do
    "$postgres_bin/pg_isready" -q -h 127.0.0.1 -p "$postgres_port" && return
    sleep 0.1
  done
}

start_nginx() { # the file's folder
  cat >"$folder/nginx.conf" <<CONF
worker_processes 2;
daemon off;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  open_file_cache max=10;
  default_type application/json;
  client_body_temp_path $folder; proxy_temp_path $folder; fastcgi_temp_path $folder;
  uwsgi_temp_path $folder; scgi_temp_path $folder;
  server { listen 127.0.0.1:$nginx_port backlog=4096; root $1; }
}
CONF
  chmod -R a+rX "$folder"
  start nginx nginx -c "$folder/nginx.conf"
  nginx_pid=$started
  until_answers "http://127.0.0.1:$nginx_port/snapshot.json"
}

mark_snapshot() {
  echo "## Snapshot requests against nginx with the same bytes"
  start_demo
  mkdir -p "$folder/www"
  curl --silent "$map_url/snapshot" >"$folder/www/snapshot.json"
  start_nginx "$folder/www"
  local workers
  workers=$(pgrep -P "$nginx_pid" | paste -sd,)
  for _ in 1 2 3; do
    "$load" snapshot --url "$map_url/snapshot" --name living-map --server-pid "$map_pid" --duration 5
    "$load" snapshot --url "http://127.0.0.1:$nginx_port/snapshot.json" --name nginx --server-pid "$workers" --duration 5
  done
  stop "$nginx_pid"
  stop "$map_pid"
}

mark_fanout() {
  echo "## 2,000 clients, 10 events a second: against nats-server's own WebSocket"
  start_demo
  start_nats
  for _ in 1 2 3; do
    "$load" fanout --url "$stream_url?snapshot=false" --events-url "$map_url/events" --server-pid "$map_pid" --duration 15
    "$load" nats-ws --url "ws://127.0.0.1:$ws_port/" --nats-url "$nats_url" --server-pid "$nats_pid" --duration 15
  done
  stop "$nats_pid"
  stop "$map_pid"
}

mark_connect() {
  echo "## 2,000 clients at once, each with the snapshot of 1,000 agents"
  for _ in 1 2 3; do
    start_demo
    "$load" connect --url "$stream_url" --server-pid "$map_pid"
    stop "$map_pid"
  done
}

# An empty map, so that what polling the demo's services took and gave back does not hide the connections.
mark_idle() {
  echo "## Memory of an idle connection"
  for _ in 1 2 3; do
    (cd "$folder" && rm -f living-map.db*)
    DATABASE_URL=sqlite://$folder/living-map.db SYNC_INTERVAL_SECONDS=3600 LOG_LEVEL=error \
      start map "$map" serve --port "$map_port"
    map_pid=$started
    until_answers "$map_url/snapshot"
    "$load" connect --url "$stream_url" --clients 18000 --at-once 100 --server-pid "$map_pid"
    stop "$map_pid"
  done
}

mark_ingest() {
  echo "## NATS to committed rows against COPY into the same table"
  start_postgres
  start_nats
  DATABASE_URL=$database_url NATS_URL=$nats_url SYNC_INTERVAL_SECONDS=3600 LOG_LEVEL=error \
    start map "$map" serve --port "$map_port"
  map_pid=$started
  until_answers "$map_url/ready"
  for _ in 1 2 3; do
    "$load" ingest --nats-url "$nats_url" --database-url "$database_url" --server-pid "$map_pid"
    "$load" copy --database-url "$database_url"
  done
  stop "$map_pid"
  stop "$nats_pid"
  stop "$postgres_pid"
}

mark_history() {
  local rows=${ROWS:-10000000} days
  echo "## A history of $rows events beside the same SQL"
  start_postgres
  "$history" seed --database-url "$database_url" --rows "$rows"
  # nothing is deleted while this is measured, nor does a new learner read all of the log, for which it takes a core for minutes
  export DATABASE_URL=$database_url SYNC_INTERVAL_SECONDS=3600 LOG_LEVEL=error
  LEARNER_ENABLED=false HISTORY_RETENTION_DAYS=32 start map "$map" serve --port "$map_port"
  map_pid=$started
  until_answers "$map_url/snapshot"
  "$history" compare --url "http://127.0.0.1:$map_port" --database-url "$database_url"
  stop "$map_pid"
  start_nats
  # with 29 days a day's rows are deleted while events come in
  for days in 32 29; do
    echo "## Ingest into it, keeping $days days"
    NATS_URL=$nats_url HISTORY_RETENTION_DAYS=$days start map "$map" serve --port "$map_port"
    map_pid=$started
    until_answers "$map_url/snapshot"
    for _ in 1 2 3; do
      "$load" ingest --nats-url "$nats_url" --database-url "$database_url" --server-pid "$map_pid"
    done
    stop "$map_pid"
  done
  stop "$nats_pid"
  stop "$postgres_pid"
}

mark_flood() {
  echo "## Good events in a flood of bad messages"
  start_postgres
  start_nats
  DATABASE_URL=$database_url NATS_URL=$nats_url SYNC_INTERVAL_SECONDS=3600 LOG_LEVEL=error \
    start map "$map" serve --port "$map_port"
  map_pid=$started
  until_answers "$map_url/ready"
  "$load" flood --nats-url "$nats_url" --database-url "$database_url" --server-pid "$map_pid" \
    --bad "${FLOOD_MESSAGES:-1000000}"
  stop "$map_pid"
  stop "$nats_pid"
  stop "$postgres_pid"
}

# /health and memory while clients take all they can get; `make load`.
mark_greedy() {
  echo "## Greedy clients"
  (cd "$folder" && rm -f living-map.db*)
  DATABASE_URL=sqlite://$folder/living-map.db SYNC_INTERVAL_SECONDS=3600 LOG_LEVEL=error \
    start map "$map" serve --port "$map_port"
  map_pid=$started
  until_answers "$map_url/snapshot"
  "$load" greedy --address "127.0.0.1:$map_port" --server-pid "$map_pid"
  stop "$map_pid"
}

for mark in "${marks[@]}"; do
  "mark_$mark"
done
