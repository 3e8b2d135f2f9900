#!/bin/bash
# Runs clang-tidy (.clang-tidy) over the C++ sources: all of them, or those named, or with --changed those that differ
# from the last commit. nvcc's own sources are left out: clang does not know CUDA 13. (Version 16, since 14 misreads
# C++20 that g++ 12 accepts. device/entry/cpu.cpp asks the CPU for f16c with a built-in that clang does not have.)
#   scripts/lint.sh [--changed | FILE…]
# A file that was found clean is not read again while it and every header that it includes, its flags, the checks and
# the linter are the same, byte for byte: their hash is kept in VIGIL_LINT_CACHE (~/.cache/vigil-lint).
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
# Only what the build compiles: the flags come from there. With each file the command that lists what it includes.
mapfile -t files < <(python3 - "$build/compile_commands.json" "${files[@]}" <<'PYTHON'
import json, os, re, sys
commands = {}
for entry in json.load(open(sys.argv[1])):
    listing = re.sub(r" -o \S+ -c ", " -M ", entry["command"])
    commands.setdefault(os.path.realpath(entry["file"]), []).append(listing)
commands.pop(os.path.realpath("device/entry/cpu.cpp"), None)
for file in sys.argv[2:]:
    if os.path.realpath(file) in commands:
        print(file, " && ".join(commands[os.path.realpath(file)]), sep="\n")
PYTHON
)
if [ -z "${files[*]}" ]; then
    say 'nothing to lint'
    exit 0
fi

memory=${VIGIL_LINT_CACHE:-$HOME/.cache/vigil-lint}
mkdir -p "$memory"
# (The build asks g++ for warnings that clang does not know.)
options='--quiet --extra-arg=-Wno-unknown-warning-option'
rules=$({ "$clang_tidy" --version && cat .clang-tidy && printf '%s\n' "$options"; } | sha256sum)

# hash_of COMMAND: over all that the linter would read. Fails if the file does not compile.
hash_of() {
    local headers
    headers=$(eval "$1" | sed 's/^[^ ]*: //; s/ \\$//') || return
    # shellcheck disable=SC2086  # paths, of which none holds a space
    { printf '%s\n' "$rules" "${1//$ROOT/}" && cat $headers; } | sha256sum | cut -d ' ' -f 1
}
# lint_one FILE COMMAND: a file's findings are printed together.
lint_one() {
    local hash output
    hash=$(hash_of "$2" 2>/dev/null) || hash=
    if [ -n "$hash" ] && [ -e "$memory/$hash" ]; then return; fi
    # shellcheck disable=SC2086  # several options
    output=$("$clang_tidy" $options -p "$build" "$1" 2>&1) || { printf '%s\n' "$output" && return 1; }
    if [ -n "$hash" ]; then touch "$memory/$hash"; fi
}
export -f lint_one hash_of
export ROOT clang_tidy build memory options rules
say "clang-tidy over $((${#files[@]} / 2)) files"
# xargs goes on after a file that fails, and fails at the end.
# shellcheck disable=SC2016  # expanded by the inner bash
printf '%s\0' "${files[@]}" | xargs -0 -n 2 -P "${VIGIL_JOBS:-$(nproc)}" bash -o pipefail -c 'lint_one "$0" "$1"'
say 'lint: clean'
