"""The rules that keep the tree readable, and a program that lists every breach of them.

    python3 tests/structure/folder_rules.py [ROOT]    prints FILE:LINE: what is wrong; exit code 1 if anything is

1. ringbuf <- device <- host <- runtime <- bench <- tests: a file includes only from its own folder or one to the left.
   docs (example programs) may include anything but bench and tests.
2. C++ and CUDA sources stand in those folders only. What nvcc alone can read (.cu, .cuh) stands in device.
3. Quoted includes are written from the root, name a file that exists, and never a .cu or .cpp file.
4. device/phases and device/layer.cuh are the same source for every machine: no CUDA built-ins, no CUDA headers.
   What differs between machines is reached through the seams.
5. A file says its role in its first line, in a comment; a source file may leave that to its header.
"""
import re
import sys
from pathlib import Path

ORDER = ["ringbuf", "device", "host", "runtime", "bench", "tests"]
MAY_INCLUDE = {folder: set(ORDER[: i + 1]) for i, folder in enumerate(ORDER)}
MAY_INCLUDE["docs"] = set(ORDER[:4]) | {"docs"}

SOURCE_SUFFIXES = {".h", ".hpp", ".cuh", ".cu", ".c", ".cc", ".cpp"}
CUDA_SUFFIXES = {".cu", ".cuh"}
NOT_THE_PROJECT = re.compile(r"^(\.|build|models$|shared$)")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
CUDA_HEADER = re.compile(r"^(cuda|cooperative_groups|cub/|mma\.h|sm_\d)")
CUDA_BUILTIN = re.compile(
    r"\b(threadIdx|blockIdx|blockDim|gridDim|warpSize|clock64|nanosleep"
    r"|atomic(?:Add|Sub|Exch|Min|Max|Inc|Dec|CAS|And|Or|Xor)\w*"
    r"|__(?:global|device|host|shared|constant|managed|launch_bounds|grid_constant|restrict)__"
    r"|__(?:syncthreads|syncwarp|shfl|ballot|any|all|activemask|match|reduce|popc|ffs|clz|ldg|ldcg|ldcs|threadfence"
    r"|nanosleep|half2float|float2half|dp4a|trap|isGlobal|cvta)\w*"
    r"|__CUDA_ARCH__|__CUDACC__|asm|cuda[A-Z]\w*)\b"
)


def without_comments(text):
    """The source with comments and string literals blanked, line numbers kept; include lines keep their names."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.S)

    def blank(match):
        piece = match.group()
        if piece[0] == '"':
            line_start = text.rfind("\n", 0, match.start()) + 1
            if re.match(r"\s*#\s*include", text[line_start : match.start()]):
                return piece
        return re.sub(r"[^\n]", " ", piece)

    return token.sub(blank, text)


def source_files(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.suffix in SOURCE_SUFFIXES and path.is_file() and not NOT_THE_PROJECT.match(relative.parts[0]):
            yield relative


def is_machine_independent(relative):
    return relative.parts[:2] == ("device", "phases") or relative == Path("device/layer.cuh")


def breaches_of_file(root, relative):
    folder = relative.parts[0] if len(relative.parts) > 1 else ""
    if folder not in MAY_INCLUDE:
        yield 1, f"source file outside {', '.join(MAY_INCLUDE)}"
        return
    # The emulator's shims have the names of what they stand in for.
    if relative.suffix in CUDA_SUFFIXES and folder != "device" and relative.parts[:3] != ("tests", "emulator", "shim"):
        yield 1, f"only device holds {relative.suffix} files"

    text = (root / relative).read_text(encoding="utf-8")
    has_header = relative.suffix not in {".h", ".cuh"} and (root / relative).with_suffix(".h").is_file()
    if not re.match(r"//[^\n]*\w|/\*", text) and not has_header:
        yield 1, "the first line is not a comment that says what the file is for"

    for number, line in enumerate(without_comments(text).splitlines(), start=1):
        include = INCLUDE.match(line)
        if include:
            quoted, angled = include.groups()
            if quoted is not None:
                yield from ((number, breach) for breach in breaches_of_include(root, folder, quoted))
            if is_machine_independent(relative) and CUDA_HEADER.match(quoted or angled):
                yield number, f"CUDA header <{quoted or angled}> in machine-independent code"
        elif is_machine_independent(relative):
            for word in CUDA_BUILTIN.findall(line):
                yield number, f"CUDA built-in '{word}' in machine-independent code"


def breaches_of_include(root, folder, target):
    target_folder = target.split("/")[0]
    if target_folder not in MAY_INCLUDE or "/" not in target:
        yield f'include "{target}" is not written from the root'
        return
    if target_folder not in MAY_INCLUDE[folder]:
        yield f"{folder} may not include from {target_folder}"
    if Path(target).suffix in {".cu", ".cpp", ".cc", ".c"}:
        yield f'include of the source file "{target}"'
    if not (root / target).is_file():
        yield f'include "{target}" names no file'


def breaches(root):
    """Every breach below `root` as (path, line, what)."""
    root = Path(root)
    return [(path, line, what) for path in source_files(root) for line, what in breaches_of_file(root, path)]


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    found = breaches(root)
    for path, line, what in found:
        print(f"{path}:{line}: {what}")
    print(f"{len(list(source_files(root)))} source files, {len(found)} breaches of the folder rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
