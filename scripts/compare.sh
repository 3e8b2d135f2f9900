#!/bin/bash
# Compares builds of vigil: every build on every model, round after round in turn, so that a machine which warms up meets
# all of them alike. Prints, as Markdown, the median time of a token of each run, their mean, and how far that is from the
# first build's; the same as JSON in $OUT/compare.json where OUT is set.
#   scripts/compare.sh NAME=PROGRAM…          here
#   scripts/compare.sh --pack NAME=PROGRAM…   collects the programs for a bare GPU machine in .gpu/compare.tar.xz
#   scripts/compare.sh --packed               unpacks and compares them, there
# MODELS are words PRESET:TYPE of bench/synth_model (llama-3.2-1b:F16 llama-3.2-1b:Q4_K_M), which makes those that are not
# there yet. ROUNDS (3); TOKENS (300) behind DEPTH positions (512); DEVICE (auto); BENCH_FLAGS: more flags of vigil bench.
# A run that fails is left out, and the exit code is 1.
set -euo pipefail
. "$(dirname "$0")/common.sh"

usage='scripts/compare.sh [--pack] NAME=PROGRAM… or scripts/compare.sh --packed'
archive=$ROOT/.gpu/compare.tar.xz
scratch=${TMPDIR:-/tmp}/vigil-compare
synth_model=${SYNTH_MODEL:-$ROOT/build/bench/synth_model}
mode=here
case ${1:-} in
    --pack) mode=pack && shift ;;
    --packed) mode=packed && shift ;;
    -*) die "unknown option '$1': $usage" ;;
esac

# Names and programs, in order.
names=() programs=()
add_build() {
    local name=${1%%=*} program=${1#*=}
    [[ "$1" == *=* && "$name" =~ ^[A-Za-z0-9._-]+$ ]] || die "'$1' is no NAME=PROGRAM: $usage"
    [[ " ${names[*]} " != *" $name "* ]] || die "two builds are called '$name'"
    [ -x "$program" ] || die "build '$name': no program '$program'"
    names+=("$name") programs+=("$program")
}
if [ $mode = packed ]; then
    [ $# = 0 ] || die "what is compared was packed: $usage"
    [ -f "$archive" ] || die "no $archive: run scripts/compare.sh --pack first"
    mkdir -p "$scratch"
    rm -rf "$scratch/packed" && mkdir "$scratch/packed"
    tar -C "$scratch/packed" -xJf "$archive"
    synth_model=$scratch/packed/synth_model
    export LD_LIBRARY_PATH=$scratch/packed/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    while read -r name; do add_build "$name=$scratch/packed/builds/$name"; done < "$scratch/packed/names"
else
    for build in "$@"; do add_build "$build"; done
fi
[ ${#names[@]} -gt 0 ] || die "nothing to compare: $usage"
[ -x "$synth_model" ] || die "no $synth_model: run scripts/build.sh first"

if [ $mode = pack ]; then
    staging=$(mktemp -d)
    trap 'rm -rf "$staging"' EXIT
    mkdir -p "$staging/builds" "$staging/lib" "$(dirname "$archive")"
    cp "$synth_model" "$staging/synth_model"
    for i in "${!names[@]}"; do cp "${programs[i]}" "$staging/builds/${names[i]}"; done
    for program in "$staging/synth_model" "$staging"/builds/*; do
        copy_libraries_of "$program" "$staging/lib"
        strip "$program"
    done
    printf '%s\n' "${names[@]}" > "$staging/names"
    pack "$staging" "$archive"
    say "$archive: ${names[*]}, $(du -m "$archive" | cut -f1) MiB"
    exit 0
fi

read -r -a models <<<"${MODELS:-llama-3.2-1b:F16 llama-3.2-1b:Q4_K_M}"
mkdir -p "$scratch"
for model in "${models[@]}"; do
    [[ "$model" == *:* ]] || die "MODELS: '$model' is no PRESET:TYPE"
    file=$scratch/$model.gguf
    [ -f "$file" ] || "$synth_model" "$file" --preset "${model%%:*}" --type "${model#*:}" >&2 ||
        die "bench/synth_model made no '$model'"
done

runs=$(mktemp)
said=$(mktemp)
trap 'rm -f "$runs" "$said"' EXIT
flags=(-p 0 -n "${TOKENS:-300}" -d "${DEPTH:-512}" -r 1 --read-gib 0 --dispatch persistent --device "${DEVICE:-auto}")
# shellcheck disable=SC2206  # flags are words
flags+=(${BENCH_FLAGS:-} -o csv)
status=0
for round in $(seq "${ROUNDS:-3}"); do
    for model in "${models[@]}"; do
        for i in "${!names[@]}"; do
            row=$("${programs[i]}" bench "$scratch/$model.gguf" "${flags[@]}" 2>"$said") || {
                tail -5 "$said" >&2
                say "round $round: $model: build '${names[i]}' fails"
                status=1
                continue
            }
            ms=$(python3 -c 'import csv, sys; print(next(csv.DictReader(sys.stdin))["ms_p50"])' <<<"$row")
            printf '%s\t%s\t%s\n' "$model" "${names[i]}" "$ms" >> "$runs"
            say "round $round: $model ${names[i]} $ms ms"
        done
    done
done

python3 - "$runs" "${names[0]}" "${flags[*]}" "${OUT:+$OUT/compare.json}" <<'PYTHON'
import json, sys
path, first, flags, to = sys.argv[1:]
results = {}  # model → build → median of each round, in order
for line in open(path):
    model, build, ms = line.rstrip("\n").split("\t")
    results.setdefault(model, {}).setdefault(build, []).append(float(ms))
print("| model | build | ms/token, p50 of each round | mean | beside the first |\n|---|---|---|---|---|")
for model, builds in results.items():
    means = {build: sum(runs) / len(runs) for build, runs in builds.items()}
    for build, runs in builds.items():
        rounds = " ".join(f"{ms:.4f}" for ms in runs)
        beside = f"{100 * (means[build] / means[first] - 1):+.1f} %" if first in means else "no run of it"
        print(f"| {model} | {build} | {rounds} | {means[build]:.4f} | {beside} |")
if to:
    json.dump({"command": f"vigil bench MODEL {flags}", "ms_per_token_p50": results}, open(to, "w"), indent=1)
PYTHON
exit $status
