#!/bin/bash
# From nothing to generated text: installs what is missing, builds the program alone, fetches a small model and
# continues PROMPT.
#   scripts/demo.sh [PROMPT]      VIGIL_MODEL=FILE.gguf uses another model
set -euo pipefail
. "$(dirname "$0")/common.sh"

prompt=${1:-'The lighthouse keeper climbed the stairs, lit the lamp and'}
"$ROOT/scripts/build.sh" default --target vigil
model=$("$ROOT/scripts/fetch_model.sh")
say "build/vigil run $model '$prompt'"
exec "$ROOT/build/vigil" run "$model" "$prompt"
