#!/bin/bash
# Runs clang-tidy (.clang-tidy) over the C++ sources: all of them, or those named, or with --changed those that differ
# from the last commit. nvcc's own sources are left out: clang does not know CUDA 13. (Version 16, since 14 misreads
# C++20 that g++ 12 accepts. device/entry/cpu.cpp asks the CPU for f16c with a built-in that clang does not have.)
#   scripts/lint.sh [--changed | FILE…]
set -euo pipefail
. "$(dirname "$0")/common.sh"

clang_tidy=$(command -v clang-tidy-16 || true)
if [ -z "$clang_tidy" ]; then
    "$ROOT/scripts/install_packages.sh" build check
    clang_tidy=clang-tidy-16
fi
cd "$ROOT"
# The flags are those of the last scripts/build.sh.
build=$ROOT/build
[ -f "$build/compile_commands.json" ] || "$ROOT/scripts/build.sh"

files=("$@")
if [ $# -eq 0 ]; then
    mapfile -t files < <(git ls-files '*.cpp')
elif [ "$1" = --changed ]; then
    mapfile -t files < <(git diff --name-only --diff-filter=d HEAD -- '*.cpp')
fi
# Only what the build compiles: the flags come from there.
mapfile -t files < <(python3 - "$build/compile_commands.json" "${files[@]}" <<'PYTHON'
import json, os, sys
compiled = {os.path.realpath(entry["file"]) for entry in json.load(open(sys.argv[1]))}
compiled.discard(os.path.realpath("device/entry/cpu.cpp"))
print("\n".join(file for file in sys.argv[2:] if os.path.realpath(file) in compiled))
PYTHON
)
if [ -z "${files[*]}" ]; then
    say 'nothing to lint'
    exit 0
fi

say "clang-tidy over ${#files[@]} files"
# (The build asks g++ for warnings that clang does not know.) A file's findings are printed together; xargs goes on after a file that fails, and fails at the end.
lint_one() {
    local output
    output=$("$clang_tidy" --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option "$1" 2>&1) || { printf '%s\n' "$output" && return 1; }
}
export -f lint_one
export clang_tidy build
# shellcheck disable=SC2016  # expanded by the inner bash
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "${VIGIL_JOBS:-$(nproc)}" bash -c 'lint_one "$0"'
say 'lint: clean'
