#!/usr/bin/env python3
"""Reads the machine code in a build, prints what each kernel needs, and fails if it is not what it should be.

    scripts/check_sass.py FILE --arch sm_75 --arch sm_90 [--ptx compute_52] [--cuobjdump PATH]

FILE is a program, library or object that carries device code. Printed for each kernel and architecture: registers,
stack and static shared memory in bytes, instructions, 128-bit global loads, loads and stores of local memory (spills
or arrays that did not fit into registers). It fails if an architecture or the PTX is missing, if a kernel touches
local memory more than a few times, or if a kernel that streams weights is missing or loads nothing 16 bytes at a time.
The kernels of the Hopper path (sm_90a) must have bulk copies and the matrix instructions of their inputs instead.
"""
import argparse
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

# Kernels that read weight matrices, which must be there and load 16 bytes at a time: the resident loop, the same phases
# as launches of their own (QKV, output, gate and up, down, logits: values of ring::Phase), the prefill's GEMM.
STREAMS_WEIGHTS = [r"resident_kernel", *(rf"step_kernel<.*Phase\){phase}>" for phase in (4, 7, 8, 9, 10)),
                   r"prefill_kernel<\(.*PrefillOp\)2>"]
# A few words that a kernel keeps in local memory across a phase cost less than having fewer registers per thread would;
# a loop that spills or an array that is indexed at run time has many more accesses.
TOLERATED_LOCAL_ACCESSES = 16
# What the weight stream and its consumers consist of, by the kernels' set of tiles::InputKind (device/sm90/tiles.h), which
# is the lower half of their number (device/sm90/team.cuh).
HOPPER = {"UBLKCP", "IMMA", "HMMA"}
HOPPER_BY_KINDS = {1: {"UBLKCP", "IMMA"}, 2: {"UBLKCP", "HMMA"}, 4: {"UBLKCP", "HMMA"}, 15: HOPPER}
KINDS = re.compile(r"_kernel<(?:\(unsigned int\))?(\d+)")

RESOURCES = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:[@{]\S*\s+)*([A-Z][A-Z0-9_.]*)")


@dataclass
class Kernel:
    arch: str
    name: str
    registers: int = 0
    stack: int = 0
    shared: int = 0
    local: int = 0
    instructions: int = 0
    wide_loads: int = 0
    local_accesses: int = 0
    hopper: set = field(default_factory=set)  # of HOPPER's instructions, those that were seen
    problems: list = field(default_factory=list)


def output_of(*command):
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}: {run.stderr.strip() or run.stdout.strip()}")
    return run.stdout


def demangled(names):
    tool = shutil.which("c++filt")
    if not tool or not names:
        return {name: name for name in names}
    text = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    return dict(zip(names, text.splitlines()))


def read_kernels(file, cuobjdump):
    """{(arch, mangled name): Kernel} with the resources that the assembler recorded and counts from the SASS."""
    kernels = {}
    arch = name = None
    for line in output_of(cuobjdump, "--dump-resource-usage", file).splitlines():
        if line.startswith("arch = "):
            arch = line.split("= ")[1].strip()
        elif line.strip().startswith("Function "):
            name = line.strip()[len("Function ") :].rstrip(":")
        elif (found := RESOURCES.search(line)) and name:
            registers, stack, shared, local = map(int, found.groups())
            kernels[arch, name] = Kernel(arch, name, registers, stack, shared, local)
            name = None
    kernel = None
    for line in output_of(cuobjdump, "--dump-sass", file).splitlines():
        if line.lstrip().startswith("Function : "):
            kernel = kernels.get((arch, line.split(": ")[1].strip()))
        elif line.lstrip().startswith("arch = "):
            arch = line.split("= ")[1].strip()
        elif kernel and (found := INSTRUCTION.match(line)):
            opcode, *modifiers = found[1].split(".")
            kernel.instructions += 1
            kernel.wide_loads += opcode == "LDG" and "128" in modifiers
            kernel.local_accesses += opcode in ("LDL", "STL")
            kernel.hopper |= HOPPER & {opcode}
    return kernels


def architectures_of(file, cuobjdump):
    """The sets of SASS and of PTX architectures in the file."""
    listed = output_of(cuobjdump, "--list-elf", "--list-ptx", file)
    sass = set(re.findall(r"\.(sm_\d+[a-z]?)\.cubin", listed))
    ptx = {a.replace("sm_", "compute_") for a in re.findall(r"\.((?:sm|compute)_\d+[a-z]?)\.ptx", listed)}
    return sass, ptx


def check(kernel, readable):
    if kernel.local_accesses > TOLERATED_LOCAL_ACCESSES:
        kernel.problems.append(f"{kernel.local_accesses} accesses to local memory (spills or an indexed array)")
    if not any(re.search(pattern, readable) for pattern in STREAMS_WEIGHTS):
        return
    if kernel.arch.endswith("a"):
        found = KINDS.search(readable)
        if missing := HOPPER_BY_KINDS[int(found[1]) & 0xFFFF if found else 15] - kernel.hopper:
            kernel.problems.append(f"no {', '.join(sorted(missing))} although it streams weights")
    elif kernel.wide_loads == 0:
        kernel.problems.append("no 128-bit load (LDG.128) although it streams weights")


def short(readable, width=78):
    """A demangled name without return type, parameter list and project namespaces."""
    text = re.sub(r"vigil::(device::)?|\(anonymous namespace\)::|^void ", "", readable)
    depth = 0
    for i, c in enumerate(text):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and i > 0:
            text = text[:i]
            break
    return text if len(text) <= width else text[: width - 1] + "…"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--arch", action="append", default=[], help="SASS that must be there, such as sm_90")
    parser.add_argument("--ptx", action="append", default=[], help="PTX that must be there, such as compute_52")
    parser.add_argument("--cuobjdump", default="cuobjdump")
    args = parser.parse_args()

    sass, ptx = architectures_of(args.file, args.cuobjdump)
    problems = [f"no SASS for {a} (there is: {', '.join(sorted(sass)) or 'none'})" for a in args.arch if a not in sass]
    problems += [f"no PTX for {p} (there is: {', '.join(sorted(ptx)) or 'none'})" for p in args.ptx if p not in ptx]

    kernels = read_kernels(args.file, args.cuobjdump)
    names = demangled(sorted({name for _, name in kernels}))
    problems += [f"no kernel is named {pattern}" for pattern in STREAMS_WEIGHTS
                 if not any(re.search(pattern, readable) for readable in names.values())]
    print(f"{args.file}: SASS {', '.join(sorted(sass))}; PTX {', '.join(sorted(ptx)) or 'none'}")
    print(f"{'arch':6} {'regs':>4} {'stack':>6} {'shared':>7} {'instr':>7} {'LDG.128':>7} {'local':>6}  kernel")
    for key in sorted(kernels, key=lambda key: (key[0], short(names[key[1]]))):
        kernel = kernels[key]
        readable = names[kernel.name]
        check(kernel, readable)
        print(f"{kernel.arch:6} {kernel.registers:4} {kernel.stack:6} {kernel.shared:7} {kernel.instructions:7} "
              f"{kernel.wide_loads:7} {kernel.local_accesses:6}  {short(readable)}")
        problems += [f"{kernel.arch} {short(readable)}: {problem}" for problem in kernel.problems]
    for problem in problems:
        print(f"{args.file}: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
