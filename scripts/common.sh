# Sourced by every script: where the project is, and the few things that several of them do.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Progress goes to standard error: what a script prints on standard output is its result.
say() { printf '==> %s\n' "$*" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a command as root: directly, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root for: $* (neither root nor sudo is there)"
    fi
}

apt_install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2; }

# The release of a CUDA compiler as MAJOR.MINOR, or nothing if it does not run.
cuda_release() { "$1" --version 2>/dev/null | sed -n 's/.*release \([0-9]*\.[0-9]*\),.*/\1/p'; }

# newest_nvcc MIN MAX: path of the newest CUDA compiler whose major version lies in MIN..MAX; fails if there is none.
newest_nvcc() {
    local candidate release major best='' best_release=0
    for candidate in ${CUDACXX:+"$CUDACXX"} /usr/local/cuda/bin/nvcc /usr/local/cuda-*/bin/nvcc /opt/cuda-*/bin/nvcc \
        "$(command -v nvcc || true)"; do
        [ -x "$candidate" ] || continue
        release=$(cuda_release "$candidate")
        [ -n "$release" ] || continue
        major=${release%%.*}
        if [ "$major" -ge "$1" ] && [ "$major" -le "$2" ] &&
            [ "$(printf '%s\n%s\n' "$best_release" "$release" | sort -V | tail -1)" != "$best_release" ]; then
            best=$candidate best_release=$release
        fi
    done
    [ -n "$best" ] && printf '%s\n' "$best"
}

# copy_libraries_of PROGRAM FOLDER: the shared libraries that a bare GPU machine may lack. Those of the C and C++ run time
# and the driver stay behind: they belong to the machine.
copy_libraries_of() {
    ldd "$1" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p' |
        grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux[^/]*|libcuda)\.' |
        while read -r library; do cp -Ln "$library" "$2/"; done || true
}

# pack FOLDER ARCHIVE: each program holds the same kernels, so a dictionary as large as a few programs makes one copy of
# them.
pack() { tar -C "$1" --sort=name -c . | xz -T1 --lzma2=preset=2,dict=256MiB,mf=hc4 > "$2"; }

# The name of the model file that the demo and the tests use.
MODEL_FILE=SmolLM2-135M-Instruct.Q4_1.gguf
