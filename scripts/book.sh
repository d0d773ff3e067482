#!/usr/bin/env bash
# Builds the book from docs/ into target/book. `make check` does not need it: a test holds the pages' links to the files.
set -euo pipefail
cd "$(dirname "$0")/.."

# Built once, in about three minutes on two cores, into a place that `make clean` removes.
tools=$PWD/target/tools
PATH=$tools/bin:$PATH
if ! command -v mdbook >/dev/null; then
  echo "book: installing mdbook into target/tools" >&2
  cargo install --quiet --locked --no-default-features --features search --root "$tools" mdbook@0.5.4
fi
mdbook build
echo "book: target/book/index.html"
