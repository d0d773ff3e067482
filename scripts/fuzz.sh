#!/usr/bin/env bash
# Runs the fuzz targets (fuzz/fuzz_targets), all or those that are named, each for FUZZ_SECONDS (20). They have the layout of
# cargo-fuzz, and `cargo +nightly fuzz run <target>` runs them with AddressSanitizer; this needs neither nightly nor cargo-fuzz,
# only a C++ compiler for libFuzzer. What fails is kept in target/fuzz/<target>, and `target/debug/<target> FILE` repeats it.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v c++ >/dev/null; then
  echo "fuzz: the fuzz targets were not run: there is no C++ compiler (c++) to build libFuzzer with" >&2
  exit 0
fi

targets=("$@")
if [[ ${#targets[@]} == 0 ]]; then targets=(envelope filter cursor query request_head); fi
# With the dependencies of the debug profile, which are there already.
export CARGO_TARGET_DIR=$PWD/target
RUSTC_WRAPPER=$PWD/scripts/instrument.sh ${CARGO:-cargo} build --quiet --locked --manifest-path fuzz/Cargo.toml "${targets[@]/#/--bin=}"
for target in "${targets[@]}"; do
  found=target/fuzz/$target
  mkdir -p "$found/corpus"
  echo "fuzz: $target" >&2
  # what was found before, then what is committed; the new goes into the first
  if ! target/debug/"$target" -max_total_time="${FUZZ_SECONDS:-20}" ${FUZZ_SEED:+-seed="$FUZZ_SEED"} -timeout=10 -rss_limit_mb=2048 \
    -max_len=4096 -dict=fuzz/words.dict -artifact_prefix="$found/" "$found/corpus" "fuzz/corpus/$target" >"$found/log" 2>&1; then
    cat "$found/log" >&2
    exit 1
  fi
  grep -E '^(INFO: Seed|#.*DONE)' "$found/log" >&2
done
