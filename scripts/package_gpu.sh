#!/bin/bash
# Collects what a bare GPU machine needs to run the tests and benchmarks into .gpu/ (ignored by git), as one archive: the
# stripped programs of build/ and build-m40/ and, of build-racecheck/, the tests that racecheck runs, the shared libraries
# that such a machine may lack, and the lists of tests. The machine needs a driver, xz and a C library no older than this
# one's; scripts/gpu_check.sh unpacks and runs it there.
#   scripts/package_gpu.sh            the programs into .gpu/package.tar.xz, at most 60 MiB
#   scripts/package_gpu.sh model      the model in two halves, into .gpu-model/1-of-2/ and .gpu-model/2-of-2/, for transfers
#                                     that limit what one of them may hold: `scripts/gpu_check.sh stash` joins them there
set -euo pipefail
. "$(dirname "$0")/common.sh"

limit_mib=60
cd "$ROOT"
if [ "${1:-}" = model ]; then
    model=$(scripts/fetch_model.sh)
    for part in 1 2; do
        mkdir -p ".gpu-model/$part-of-2"
        split --number="$part/2" "$model" > ".gpu-model/$part-of-2/$MODEL_FILE"
    done
    exit 0
fi
package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
mkdir -p "$package/lib"

for build in build build-m40 build-racecheck; do
    [ -d "$build" ] || { say "$build is not there: left out"; continue; }
    say "collecting $build"
    # Every test as CTest knows it: name, labels, environment, command; programs below the build folder travel.
    ctest --test-dir "$build" --show-only=json-v1 > "$package/$build.json"
    python3 - "$ROOT" "$build" "$package" <<'PYTHON'
import json, os, re, shutil, sys
root, build, package = sys.argv[1:]
for_racecheck = build == "build-racecheck"
tests = json.load(open(f"{package}/{build}.json"))["tests"]
programs = set()
with open(f"{package}/{build}.tests", "w") as listing:
    for test in tests:
        command = test.get("command", [])
        if not command or not command[0].startswith(f"{root}/{build}/"):
            continue
        properties = {p["name"]: p["value"] for p in test["properties"]}
        if not properties.keys().isdisjoint({"WILL_FAIL", "PASS_REGULAR_EXPRESSION"}):
            continue  # judged by CTest, not by the exit code; none of them needs a GPU
        labels = properties.get("LABELS", [])
        if for_racecheck and "racecheck" not in labels:
            continue
        programs.add(os.path.relpath(command[0], root))
        line = [os.path.relpath(command[0], root)] + command[1:]
        environment = " ".join(properties.get("ENVIRONMENT", []))
        listing.write("\t".join([test["name"], ",".join(labels) or "-", environment or "-", *line]) + "\n")
if not for_racecheck:
    for folder, _, files in os.walk(f"{root}/{build}/bench"):
        programs |= {os.path.relpath(f"{folder}/{f}", root) for f in files
                     if os.access(f"{folder}/{f}", os.X_OK) and not re.search(r"\.(so|a|o|py|cmake)\b", f)}
    if os.path.exists(f"{root}/{build}/vigil"):
        programs.add(f"{build}/vigil")
for program in sorted(programs):
    os.makedirs(os.path.dirname(f"{package}/{program}"), exist_ok=True)
    shutil.copy2(f"{root}/{program}", f"{package}/{program}")
    print(program)
PYTHON
    rm "$package/$build.json"
done > "$package/programs"

while read -r program; do
    copy_libraries_of "$package/$program" "$package/lib"
    strip "$package/$program"
done < "$package/programs"
rmdir --ignore-fail-on-non-empty "$package/lib"
printf '%s\n' "$ROOT" > "$package/source_root"
git rev-parse HEAD > "$package/commit"

say 'packing'
rm -rf .gpu && mkdir .gpu
pack "$package" .gpu/package.tar.xz
size_mib=$(du -m .gpu/package.tar.xz | cut -f1)
[ "$size_mib" -le $limit_mib ] || die ".gpu/package.tar.xz holds $size_mib MiB, more than $limit_mib"
say ".gpu/package.tar.xz: $(wc -l < "$package/programs") programs, $size_mib MiB"
