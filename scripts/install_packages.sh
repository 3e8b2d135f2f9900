#!/bin/bash
# Installs with apt whatever is missing of what vigil is built from; does nothing if all of it is there.
#   scripts/install_packages.sh [build|check|clients]…    build (default): to build and test; check: what CI needs
#                                                         beside; clients: a browser and what `openai` is put into
set -euo pipefail
. "$(dirname "$0")/common.sh"

build=(
    g++ cmake ninja-build                                 # the tools
    libcli11-dev nlohmann-json3-dev libfmt-dev # command line, JSON, messages
    libpcre2-dev libutf8proc-dev                          # the tokenizer's regular expressions and Unicode tables
    libcpp-httplib-dev pkg-config                         # the HTTP server
    libedit-dev                                           # line editing of vigil chat
    libboost-dev libboost-context-dev                     # Boost.Lockfree; fibers of the tests' emulator
    doctest-dev libbenchmark-dev                          # tests and benchmarks
    python3 ca-certificates                               # the structure test; the model's download
)
check=(clang-format-14 clang-tidy-16 ccache) # ccache: the builds of one CI run share most objects
clients=(python3-venv chromium)              # what tests of the server need, which else skip themselves

wanted=()
for group in "${@:-build}"; do
    case $group in
        build) wanted+=("${build[@]}") ;;
        check) wanted+=("${check[@]}") ;;
        clients) wanted+=("${clients[@]}") ;;
        *) die "unknown group '$group' (build, check or clients)" ;;
    esac
done

if ! command -v apt-get >/dev/null; then
    say "no apt here: install these yourself if the build misses them: ${wanted[*]}"
    exit 0
fi
missing=()
for package in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
# A Python from elsewhere may come with its own pip; only without one is Debian's needed.
if [[ " ${wanted[*]} " == *" python3 "* ]] && ! python3 -m pip --version >/dev/null 2>&1; then
    missing+=(python3-pip)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

say "installing with apt: ${missing[*]}"
as_root apt-get update -q >&2
apt_install "${missing[@]}"
