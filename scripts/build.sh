#!/bin/bash
# Builds vigil; the presets are in CMakePresets.json.
#   scripts/build.sh                 build/vigil: for sm_75, sm_80 and sm_90 where CUDA 12 or newer is there, else for the CPU
#   scripts/build.sh m40             build-m40/vigil: for sm_52, with CUDA 11.8 (installed first if no fitting one is there)
#   scripts/build.sh racecheck       build-racecheck/: the Hopper kernels as compute-sanitizer's racecheck understands them
#   scripts/build.sh cpu             build/vigil without CUDA, whatever is there
#   scripts/build.sh debug|asan|tsan build-debug/, build-asan/, build-tsan/: CPU only
# What follows the kind goes to `cmake --build`: `scripts/build.sh default --target vigil` leaves out tests and benchmarks.
# VIGIL_JOBS limits the compilers at work at once; CUDACXX names a CUDA compiler to consider first.
set -euo pipefail
. "$(dirname "$0")/common.sh"

kind=${1:-default}
shift || true
"$ROOT/scripts/install_packages.sh" build

cuda=()
case $kind in
    default | racecheck)
        if nvcc=$(newest_nvcc 12 99); then
            say "CUDA compiler: $nvcc, release $(cuda_release "$nvcc")"
            preset=cuda
            [ "$kind" = default ] || preset=racecheck
            cuda=(-DCMAKE_CUDA_COMPILER="$nvcc" -DCUDAToolkit_ROOT="$(dirname "$(dirname "$nvcc")")")
        elif [ "$kind" = racecheck ]; then
            die 'no CUDA compiler of release 12 or newer'
        else
            say 'no CUDA compiler of release 12 or newer: building for the CPU only'
            preset=release
        fi
        ;;
    m40)
        if ! nvcc=$(newest_nvcc 11 11) && ! nvcc=$(newest_nvcc 12 12); then
            "$ROOT/scripts/install_cuda_11.8.sh"
            nvcc=/opt/cuda-11.8/bin/nvcc
        elif [ "$nvcc" = /usr/bin/nvcc ]; then
            # Debian's own: only usable beside other toolkits through the folder that this makes.
            "$ROOT/scripts/install_cuda_11.8.sh"
            nvcc=/opt/cuda-11.8/bin/nvcc
        fi
        say "CUDA compiler: $nvcc, release $(cuda_release "$nvcc")"
        preset=m40 cuda=(-DCMAKE_CUDA_COMPILER="$nvcc" -DCUDAToolkit_ROOT="$(dirname "$(dirname "$nvcc")")")
        ;;
    cpu) preset=release ;;
    debug | asan | tsan) preset=$kind ;;
    *) die "unknown kind '$kind' (none, m40, racecheck, cpu, debug, asan or tsan)" ;;
esac

launcher=()
if command -v ccache >/dev/null; then
    # Paths below the project are cached as relative ones, so that a second clone finds what the first compiled.
    export CCACHE_BASEDIR=$ROOT CCACHE_NOHASHDIR=1
    launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
    if [ ${#cuda[@]} -gt 0 ]; then launcher+=(-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache); fi
fi

cd "$ROOT"
say "configuring: preset $preset"
cmake --preset "$preset" "${cuda[@]}" "${launcher[@]}" >&2
say 'compiling'
cmake --build --preset "$preset" --parallel "${VIGIL_JOBS:-$(nproc)}" "$@" >&2
