#!/bin/bash
# Runs tests/serve/openai_client_test.py against a built program, in a virtual environment with the package `openai`
# that is made on first use. Exit code 77, and a line that says why, where there is no package index.
#   scripts/openai_client_test.sh VIGIL [ENVIRONMENT]     ENVIRONMENT: where that goes (default models/openai-client)
set -euo pipefail
. "$(dirname "$0")/common.sh"

package=openai==3.52.0
vigil=${1:?the program to test is missing}
environment=${2:-$ROOT/models/openai-client}

if ! "$environment/bin/python" -c "import importlib.metadata as m; assert 'openai==' + m.version('openai') == '$package'" \
    2>/dev/null; then
    say "making $environment with $package"
    rm -rf "$environment"
    if ! python3 -m venv "$environment" >&2 ||
        ! "$environment/bin/python" -m pip install --quiet --timeout 20 --retries 1 "$package" >&2; then
        rm -rf "$environment"
        echo "SKIPPED: $package can't be installed here"
        exit 77
    fi
fi
exec "$environment/bin/python" -B "$ROOT/tests/serve/openai_client_test.py" "$vigil"
