#!/bin/bash
# Makes /opt/cuda-11.8 a CUDA 11.8 toolkit, the last line of releases that compiles for the M40 (sm_52), from
# Debian 12's own packages (component non-free). Does nothing if it is there already.
#
# Debian's nvcc is not used as it is: g++ searches /usr/local/include before /usr/include, and where a newer toolkit
# has linked its headers there, nvcc 11.8 compiles against those and fails ("__cudaLaunch requires 2 arguments").
# A folder with links to exactly 11.8's headers, put first, lets both toolkits live on one machine. The compiler behind
# nvcc is g++-11, the newest that 11.8 accepts.
set -euo pipefail
. "$(dirname "$0")/common.sh"

prefix=/opt/cuda-11.8
if [ -x $prefix/bin/nvcc ] && [ "$(cuda_release $prefix/bin/nvcc)" = 11.8 ]; then
    say "CUDA 11.8 is at $prefix"
    exit 0
fi
. /etc/os-release
[ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ] ||
    die "this script knows Debian 12 only; elsewhere put a CUDA 11.8 toolkit at $prefix or name its nvcc in CUDACXX"

has_candidate() { [[ $(apt-cache policy nvidia-cuda-toolkit 2>/dev/null) == *'Candidate: 11.8'* ]]; }

if [ "$(cuda_release /usr/bin/nvcc)" != 11.8 ]; then
    as_root apt-get update -q >&2
    if ! has_candidate; then
        # The packages come from the mirror that this machine already uses for Debian itself.
        mirror=$(grep -rhE '^(URIs:|deb )' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
            grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ' || true)
        mirror=${mirror:-http://deb.debian.org/debian}
        source_file=/etc/apt/sources.list.d/vigil-non-free.sources
        say "adding Debian's components contrib and non-free from $mirror ($source_file)"
        printf '%s\n' 'Types: deb' "URIs: $mirror" "Suites: $VERSION_CODENAME" 'Components: contrib non-free' \
            'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' | as_root tee $source_file >/dev/null
        as_root apt-get update -q >&2
        has_candidate || die "apt does not offer nvidia-cuda-toolkit 11.8; see 'apt-cache policy nvidia-cuda-toolkit'"
    fi
    say 'installing CUDA 11.8 and g++-11 with apt (a download of about 1.5 GB)'
    apt_install nvidia-cuda-toolkit nvidia-cuda-dev g++-11
elif ! command -v g++-11 >/dev/null; then
    say 'installing g++-11 with apt, the compiler behind nvcc 11.8'
    as_root apt-get update -q >&2
    apt_install g++-11
fi

say "linking the toolkit together at $prefix"
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/bin" "$staging/include"
for package in nvidia-cuda-dev nvidia-cuda-toolkit libcub-dev libthrust-dev; do
    dpkg-query -L "$package" 2>/dev/null || true
done | sed -n 's,^/usr/include/,,p' | while read -r header; do
    if [ -d "/usr/include/$header" ] && [ ! -L "/usr/include/$header" ]; then
        mkdir -p "$staging/include/$header"
    else
        mkdir -p "$staging/include/$(dirname "$header")"
        ln -sfn "/usr/include/$header" "$staging/include/$header"
    fi
done
[ -e "$staging/include/cuda_runtime.h" ] || die 'the installed packages have no /usr/include/cuda_runtime.h'
ln -s "/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)" "$staging/lib64"
for tool in ptxas fatbinary cuobjdump nvdisasm nvlink cudafe++ bin2c; do
    if [ -x "/usr/bin/$tool" ]; then ln -s "/usr/bin/$tool" "$staging/bin/$tool"; fi
done
cat > "$staging/bin/nvcc" <<WRAPPER
#!/bin/sh
# Debian's nvcc 11.8 with its own headers first; made by vigil's scripts/install_cuda_11.8.sh, which says why.
PATH=/usr/bin:\$PATH exec /usr/bin/nvcc -ccbin g++-11 -I$prefix/include "\$@"
WRAPPER
chmod 755 "$staging" "$staging/bin/nvcc"
as_root mkdir -p /opt
as_root rm -rf $prefix
as_root cp -a "$staging" $prefix
[ "$(cuda_release $prefix/bin/nvcc)" = 11.8 ] || die "$prefix/bin/nvcc does not answer as release 11.8"
say "CUDA 11.8 is at $prefix"
