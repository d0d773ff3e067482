#!/usr/bin/env bash
# Checks the dependencies by deny.toml: licences, sources, duplicates, and known vulnerabilities where the advisory
# database can be had (it is a git repository, which not every network reaches). Then those of web/ for known
# vulnerabilities, where the registry answers such questions (mirrors often do not).
set -euo pipefail
cd "$(dirname "$0")/.."

# Built once, in a minute, into a place that `make clean` removes. Without optimisation: building it with takes two minutes
# more, and saves two seconds of each check.
tools=$PWD/target/tools
PATH=$tools/bin:$PATH
if ! command -v cargo-deny >/dev/null; then
  echo "check-deps: installing cargo-deny into target/tools" >&2
  cargo install --quiet --locked --debug --root "$tools" cargo-deny@0.20.2
fi

cargo deny --locked check --hide-inclusion-graph bans licenses sources
if timeout 60 cargo deny --locked fetch db >/dev/null 2>&1; then
  cargo deny --locked check --disable-fetch advisories
else
  echo "check-deps: advisories were not checked, their database cannot be reached from here" >&2
fi

# An answer of the registry has a version; what npm says of a registry that does not answer has none.
audit=$(cd web && timeout 120 "${NPM:-npm}" audit --json 2>/dev/null) || true
if grep -q '"auditReportVersion"' <<<"$audit"; then
  (cd web && "${NPM:-npm}" audit)
else
  echo "check-deps: the packages of web/ were not audited, their registry does not answer audits from here" >&2
fi
