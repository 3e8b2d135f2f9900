#!/bin/bash
# Runs tests and benchmarks on a GPU machine, from the programs that scripts/package_gpu.sh collected in .gpu/ (which is
# called if there is none). Needs bash, python3 and the driver; no network, no packages.
#   scripts/gpu_check.sh MODE…        results as JSON in $OUT, or in bench/results/ when OUT is unset
#     doctor        what `vigil doctor` says, and nvidia-smi
#     tests         every test of build/, run for real where the machine has a GPU
#     tests-m40     the same for build-m40/, through the driver's compiler: the code that an M40 gets
#     sanitize      compute-sanitizer: memcheck and initcheck over the tests labelled `sanitize`; synccheck and racecheck,
#                   which are many times slower, over those labelled `racecheck`, the latter in build-racecheck/
#     bench         the benchmarks
#     latency       vigil bench on models of PRESETS (made first): tokens, prompts and submissions by dispatch, as Markdown
#                   and in vigil_bench.json
#     soak          10,000 cycles of park, prefill and resume; the host killed, stopped and silent
#     stash         puts the piece of the model that is in .gpu-model/ aside, and joins the pieces once all are there
#     all           doctor, tests, tests-m40, sanitize, bench, latency, soak
# ONLY=REGEX restricts tests and sanitize to names that match. TEST_TIMEOUT is in seconds (120). PRESETS are those of
# bench/synth_model, DEPTHS positions (0,512,4096), BENCH_FLAGS more flags of vigil bench; VIGIL_SOAK_CYCLES is the
# number of cycles.
set -uo pipefail
. "$(dirname "$0")/common.sh"

archive=$ROOT/.gpu/package.tar.xz
[ -f "$archive" ] || "$ROOT/scripts/package_gpu.sh" || exit 1
# Unpacked once and kept for the calls that follow.
package=${TMPDIR:-/tmp}/vigil-gpu
if [ ! -f "$package/unpacked" ] || ! cmp -s "$package/unpacked" <(sha256sum < "$archive"); then
    rm -rf "$package" && mkdir -p "$package" || exit 1
    tar -C "$package" -xJf "$archive" || exit 1
    sha256sum < "$archive" > "$package/unpacked"
fi
out=${OUT:-$ROOT/bench/results}
mkdir -p "$out"
export LD_LIBRARY_PATH=$package/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
timeout_s=${TEST_TIMEOUT:-120}
stash=${TMPDIR:-/tmp}/vigil-model
status=0

# Test programs know the folders they were built in, for their data and for the programs they start.
for build in build build-m40 build-racecheck; do
    if [ ! -e "$ROOT/$build" ] && [ -d "$package/$build" ]; then ln -sfn "$package/$build" "$ROOT/$build"; fi
done
source_root=$(cat "$package/source_root")
if [ ! -e "$source_root" ]; then
    mkdir -p "$(dirname "$source_root")" && ln -s "$ROOT" "$source_root"
fi
if [ -z "${VIGIL_MODEL:-}" ] && [ -f "$stash/$MODEL_FILE" ]; then export VIGIL_MODEL=$stash/$MODEL_FILE; fi

# record FILE: standard input, lines of NAME<tab>RESULT<tab>SECONDS<tab>DETAIL, becomes JSON with the machine and the commit.
record() {
    python3 -c '
import json, subprocess, sys
def of(*command):
    try: return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError: return ""
rows = [line.rstrip("\n").split("\t") for line in sys.stdin]
commit = open(sys.argv[2]).read().strip()
json.dump({
    "command": sys.argv[1], "commit": commit, "date": of("date", "-u", "+%FT%TZ"),
    "gpu": of("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader").splitlines(),
    "results": [{"name": r[0], "result": r[1], "seconds": float(r[2]), "detail": r[3]} for r in rows],
}, sys.stdout, indent=1)' "scripts/gpu_check.sh $mode" "$package/commit" > "$out/gpu_$1.json"
}

# run_list LABEL LIST [PREFIX…]: runs the tests of a list whose labels match, prints a table, appends to $results; with
# $figures set, also what they print.
run_list() {
    local label=$1 list=$2 name labels environment command started seconds result log rc detail
    shift 2
    log=$(mktemp)
    while IFS=$'\t' read -r name labels environment command; do
        [[ "$labels" =~ $label ]] && [[ "$name" =~ ${ONLY:-.} ]] || continue
        IFS=$'\t' read -r -a argv <<<"$command"
        [ "$environment" = - ] && environment=
        started=$(date +%s.%N)
        # shellcheck disable=SC2086  # NAME=VALUE words
        (cd "$package" && env $environment timeout "$timeout_s" "$@" "${argv[@]}" </dev/null) >"$log" 2>&1
        rc=$?
        seconds=$(awk "BEGIN { printf \"%.2f\", $(date +%s.%N) - $started }")
        case $rc in
            0) result=passed ;;
            77) result=skipped ;;
            124) result=timeout ;;
            *) result=failed ;;
        esac
        printf '%-8s %8s s  %s %s\n' "$result" "$seconds" "${*##*/}" "$name"
        if [ $rc -ne 0 ] && [ $rc -ne 77 ]; then
            status=1
            tail -40 "$log" | sed 's/^/    /'
        fi
        detail="exit code $rc"
        if [ -n "${figures:-}" ]; then
            grep -vE '^(\[doctest\]|=+$)' "$log" | sed 's/^/    /'
            detail+=$(grep -vE '^(\[doctest\]|=+$)' "$log" | tr '\t' ' ' | sed 's/^/; /' | tr -d '\n')
        fi
        printf '%s\t%s\t%s\t%s\n' "${*:+${*##*/} }$name" "$result" "$seconds" "$detail" >> "$results"
    done < "$list"
    rm -f "$log"
}

begin() { results=$(mktemp); }
finish() {
    printf '%s: %s passed, %s failed, %s skipped\n' "$1" "$(grep -c $'\tpassed\t' "$results")" \
        "$(grep -cE $'\t(failed|timeout)\t' "$results")" "$(grep -c $'\tskipped\t' "$results")"
    record "$1" < "$results"
    rm -f "$results"
}

mode_doctor() {
    nvidia-smi || true
    "$package/build/vigil" doctor || status=1
}

mode_tests() {
    begin
    run_list . "$package/build.tests"
    finish tests
}

mode_tests_m40() {
    begin
    # Its code is for sm_52 and compute_52 PTX, so a newer GPU's driver compiles the PTX by itself, and keeps what it made
    # from one process to the next. (CUDA_FORCE_PTX_JIT=1 would make each of them wait 13 s for it again.)
    export CUDA_CACHE_MAXSIZE=4294967296
    run_list gpu "$package/build-m40.tests"
    finish tests_m40
}

mode_sanitize() {
    local tool
    begin
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck initcheck; do
            run_list sanitize "$package/build.tests" compute-sanitizer --tool "$tool" --error-exitcode 1
        done
        run_list racecheck "$package/build.tests" compute-sanitizer --tool synccheck --error-exitcode 1
        # What racecheck takes for races is written otherwise in a build for it (device/sm90/ptx.cuh).
        if [ -f "$package/build-racecheck.tests" ]; then
            run_list racecheck "$package/build-racecheck.tests" compute-sanitizer --tool racecheck --error-exitcode 1
        else
            echo 'SKIPPED: racecheck wants scripts/build.sh racecheck before scripts/package_gpu.sh'
            printf 'racecheck\tskipped\t0\tno build-racecheck\n' >> "$results"
        fi
    else
        echo 'SKIPPED: no compute-sanitizer on this machine'
        printf 'compute-sanitizer\tskipped\t0\tnot installed\n' >> "$results"
    fi
    finish sanitize
}

mode_bench() {
    local program name
    for program in "$package"/build/bench/*_bench "$package"/build/bench/bench_*; do
        [ -x "$program" ] || continue
        name=$(basename "$program")
        "$program" --benchmark_out="$out/$name.json" --benchmark_out_format=json || status=1
    done
}

mode_latency() {
    local preset models=()
    mkdir -p "$stash"
    for preset in ${PRESETS:-smollm2-135m qwen3-0.6b llama-3.2-1b}; do
        models+=("$stash/$preset.gguf")
        [ -f "$stash/$preset.gguf" ] || "$package/build/bench/synth_model" "$stash/$preset.gguf" --preset "$preset" || status=1
    done
    # shellcheck disable=SC2206  # flags are words
    local -a command=("$package/build/vigil" bench "${models[@]}" -d "${DEPTHS:-0,512,4096}" --jobs 2000 ${BENCH_FLAGS:-})
    VIGIL_COMMIT=$(cat "$package/commit") "${command[@]}" --json-file "$out/vigil_bench.json" || status=1
}

mode_soak() {
    export VIGIL_SOAK_CYCLES=${VIGIL_SOAK_CYCLES:-10000}
    timeout_s=${TEST_TIMEOUT:-300}
    begin
    figures=yes run_list gpu,soak "$package/build.tests"
    finish soak
}

mode_stash() {
    local halves=("$stash/1-of-2/$MODEL_FILE" "$stash/2-of-2/$MODEL_FILE")
    mkdir -p "$stash"
    cp -r "$ROOT"/.gpu-model/* "$stash"/ || { status=1; return; }
    if [ -f "${halves[0]}" ] && [ -f "${halves[1]}" ]; then
        cat "${halves[@]}" > "$stash/$MODEL_FILE"
        say "the model is at $stash/$MODEL_FILE"
    fi
}

[ $# -gt 0 ] || die 'which mode? doctor, tests, tests-m40, sanitize, bench, latency, soak, stash or all'
modes=("$@")
[ "$1" != all ] || modes=(doctor tests tests-m40 sanitize bench latency soak)
for mode in "${modes[@]}"; do
    say "$mode"
    declare -F "mode_${mode//-/_}" >/dev/null || die "unknown mode '$mode'"
    "mode_${mode//-/_}"
done
exit $status
