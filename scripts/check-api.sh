#!/usr/bin/env bash
# Holds the server to its own OpenAPI document: Schemathesis asks a real one, with a simulated network, by examples, by the
# edges of what the document allows, by chance, and along the document's links, with all of its checks. It prints the seed;
# API_SEED=… repeats a run, API_EXAMPLES=… asks more or less of each operation.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools/schemathesis
if [[ ! -x $tools/bin/schemathesis ]] || ! cmp -s tests/api/requirements.txt "$tools/requirements.txt"; then
  echo "check-api: installing Schemathesis into target/tools" >&2
  rm -rf "$tools"
  if ! python3 -m venv "$tools" >&2 || ! "$tools/bin/pip" install --quiet --disable-pip-version-check -r tests/api/requirements.txt; then
    rm -rf "$tools"
    echo "check-api: the server was not held to its OpenAPI document: Schemathesis cannot be installed from here (it takes Python 3.10 with venv, and PyPI)" >&2
    exit 0
  fi
  cp tests/api/requirements.txt "$tools/"
fi

${CARGO:-cargo} build --quiet --locked --bin living-map
server=$PWD/target/debug/living-map
folder=$(mktemp -d)
pid=
finish() {
  if [[ -n $pid ]]; then kill "$pid" 2>/dev/null && wait "$pid" || true; fi
  rm -rf "$folder"
}
trap finish EXIT

# An admin, who may do all that the document has.
line=$("$server" token --name check-api --role admin 2>"$folder/token")
API_TOKEN=$(grep -o 'lm_[^ ]*' "$folder/token")
port=$("$tools/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export API_TOKEN API_URL=http://127.0.0.1:$port

PORT=$port AUTH=token AUTH_TOKENS=$line DEAD_LETTER_RETRY_SECONDS=0.1 SNAPSHOT_SAVE_EVENTS=1 LOG_LEVEL=warn \
  JOURNAL_URL=file://$folder/journal \
  "$server" demo --events-per-second 20 --keep "$folder/living-map.db" >"$folder/log" 2>&1 &
pid=$!
healthy() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }
for _ in $(seq 300); do healthy && break; sleep 0.1; done

report=$PWD/target/tmp/api
mkdir -p "$report"
cd "$report"
if ! PYTHONPATH=$OLDPWD/tests/api "$tools/bin/schemathesis" --config-file "$OLDPWD/tests/api/schemathesis.toml" run "$API_URL/openapi.json" \
  --checks all --max-examples "${API_EXAMPLES:-30}" ${API_SEED:+--seed "$API_SEED"} "$@"; then
  echo "check-api: what the server wrote:" >&2
  cat "$folder/log" >&2
  exit 1
fi
