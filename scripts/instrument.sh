#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER for scripts/fuzz.sh: has the compiler count, for libFuzzer, which branches our own code and the targets take.
# The dependencies are left as they are, so that those of the debug profile serve. These are the flags of cargo-fuzz.
set -euo pipefail
rustc=$1
shift
case " $* " in
  *" --crate-name living_map "* | *" --crate-name envelope "* | *" --crate-name filter "* | *" --crate-name cursor "* | *" --crate-name query "* | *" --crate-name head "*)
    exec "$rustc" "$@" --cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
      -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
      -C llvm-args=-sanitizer-coverage-trace-compares
    ;;
  *) exec "$rustc" "$@" ;;
esac
