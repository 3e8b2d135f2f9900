#!/bin/bash
# Runs clang-tidy (.clang-tidy) over the C++ sources: all of them, or those named, or with --changed those that differ
# from the last commit. nvcc's own sources are left out: clang-tidy 14 does not know CUDA 13.
#   scripts/lint.sh [--changed | FILE…]
set -euo pipefail
. "$(dirname "$0")/common.sh"

clang_tidy=$(command -v clang-tidy-14 || true)
if [ -z "$clang_tidy" ]; then
    "$ROOT/scripts/install_packages.sh" build check
    clang_tidy=clang-tidy-14
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
print("\n".join(file for file in sys.argv[2:] if os.path.realpath(file) in compiled))
PYTHON
)
if [ -z "${files[*]}" ]; then
    say 'nothing to lint'
    exit 0
fi

say "clang-tidy over ${#files[@]} files"
# Only errors in the project's own files count: clang 14 stumbles over some of libstdc++ 12's ranges, which g++ accepts.
lint_one() {
    local output status=0
    output=$("$clang_tidy" --quiet -p "$build" "$1" 2>&1) || status=$?
    if [ $status -gt 1 ] || grep -q "^$ROOT/.* error: " <<<"$output" ||
        { [ $status -ne 0 ] && ! grep -q ' error: ' <<<"$output"; }; then
        printf '%s\n%s: clang-tidy ends with %s\n' "$output" "$1" "$status"
        return 1
    fi
}
export -f lint_one
export clang_tidy build ROOT
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "${VIGIL_JOBS:-$(nproc)}" bash -c 'lint_one "$0"'
say 'lint: clean'
