#!/bin/bash
# Formats every C++ and CUDA file in place; with --check it only says which would change, and fails if any would.
set -euo pipefail
. "$(dirname "$0")/common.sh"

clang_format=$(command -v clang-format-14 || true)
if [ -z "$clang_format" ]; then
    "$ROOT/scripts/install_packages.sh" check
    clang_format=clang-format-14
fi
cd "$ROOT"
mapfile -t files < <(git ls-files '*.h' '*.cpp' '*.cuh' '*.cu')
if [ "${1:-}" = --check ]; then
    "$clang_format" --dry-run -Werror "${files[@]}"
    say "format: ${#files[@]} files are clean"
else
    "$clang_format" -i "${files[@]}"
    say "format: ${#files[@]} files"
fi
