#!/bin/bash
# Prints the path of a cuobjdump that reads the output of CUDA 13. One that is installed is taken; else NVIDIA's PyPI
# packages (6 MB) are unpacked into .cache/, since some installations of CUDA 13 leave the disassembler out.
# (The 13.x tools no longer read sm_52, the 11.8 ones do not read 13's output: each build needs its own.)
set -euo pipefail
. "$(dirname "$0")/common.sh"

for tool in /usr/local/cuda/bin/cuobjdump $(command -v cuobjdump || true); do
    if [ -x "$tool" ] && [ -x "$(dirname "$tool")/nvdisasm" ]; then
        release=$(cuda_release "$tool")
        if [ "${release%%.*}" -ge 13 ]; then
            printf '%s\n' "$tool"
            exit 0
        fi
    fi
done

folder=$ROOT/.cache/cuda-13-tools
tool=$folder/nvidia/cu13/bin/cuobjdump
if [ ! -x "$tool" ]; then
    say 'fetching cuobjdump and nvdisasm for CUDA 13 (PyPI packages nvidia-cuda-cuobjdump, nvidia-cuda-nvdisasm)'
    mkdir -p "$folder"
    python3 -m pip download --quiet --no-deps --dest "$folder" \
        'nvidia-cuda-cuobjdump==13.5.*' 'nvidia-cuda-nvdisasm==13.5.*' >&2
    for wheel in "$folder"/*.whl; do python3 -m zipfile -e "$wheel" "$folder"; done
    rm "$folder"/*.whl
    chmod +x "$folder"/nvidia/cu13/bin/*
fi
printf '%s\n' "$tool"
