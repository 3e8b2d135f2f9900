#!/bin/bash
# Installs what is missing, builds vigil, fetches the model that some tests read, and runs every test that can run
# here. Tests that need what is not there (a GPU) are skipped and listed as such.
#   scripts/test.sh [CTEST-OPTION…]
set -euo pipefail
. "$(dirname "$0")/common.sh"

"$ROOT/scripts/build.sh"
VIGIL_MODEL=$("$ROOT/scripts/fetch_model.sh")
export VIGIL_MODEL
say 'testing'
ctest --test-dir "$ROOT/build" --output-on-failure --parallel "$(nproc)" "$@"
