"""scripts/check_sass.py accepts good machine code and names what is wrong with bad code, from canned disassembly."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "scripts" / "check_sass.py"

STREAMING = ["resident_kernel", *(f"step_kernel<(Phase){phase}>" for phase in (4, 7, 8, 9, 10)),
             "prefill_kernel<(PrefillOp)2>"]
GOOD_CODE = ["LDG.E.128 R4, [R2]", "@P0 FFMA R0, R4, R5, R0", "STG.E [R2], R0", "EXIT"]


def cuobjdump_script(sass_archs, ptx_archs, kernels):
    """A shell script that answers as cuobjdump would for kernels of this code {name: instructions}."""
    listing = "".join(f"ELF file 1: a.1.{a}.cubin\n" for a in sass_archs)
    listing += "".join(f"PTX file 1: a.1.{a}.ptx\n" for a in ptx_archs)
    usage = sass = ""
    for arch in sass_archs:
        usage += f"arch = {arch}\n"
        sass += f"arch = {arch}\n\tcode for {arch}\n"
        for name, code in kernels.items():
            usage += f" Function {name}:\n  REG:40 STACK:0 SHARED:1024 LOCAL:0 CONSTANT[0]:332\n"
            sass += f"\t\tFunction : {name}\n"
            sass += "".join(f"        /*{8 * i:04x}*/    {line} ;   /* 0x0 */\n" for i, line in enumerate(code))
    return (f'#!/bin/sh\ncase $1 in\n--dump-resource-usage) cat <<"E"\n{usage}E\n;;\n'
            f'--dump-sass) cat <<"E"\n{sass}E\n;;\n*) cat <<"E"\n{listing}E\n;;\nesac\n')


def run_check(*arguments, sass_archs=("sm_52",), ptx_archs=("sm_52",), changed=None, without=()):
    """Runs the checker on a build that is good but for the kernels in `changed` and those left out."""
    kernels = {name: GOOD_CODE for name in STREAMING if name not in without} | (changed or {})
    with tempfile.TemporaryDirectory() as folder:
        tool = Path(folder, "cuobjdump")
        tool.write_text(cuobjdump_script(sass_archs, ptx_archs, kernels))
        tool.chmod(0o755)
        return subprocess.run([sys.executable, CHECK, "lib.a", "--cuobjdump", tool, *arguments],
                              capture_output=True, text=True)


class CheckSass(unittest.TestCase):
    def assert_refused(self, run, reason):
        self.assertEqual(run.returncode, 1, run.stdout)
        self.assertIn(reason, run.stderr)

    def test_good_code_passes_and_its_resources_are_printed(self):
        run = run_check("--arch", "sm_52", "--ptx", "compute_52")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        row = next(line for line in run.stdout.splitlines() if "resident_kernel" in line)
        self.assertEqual(row.split(), ["sm_52", "40", "0", "1024", "4", "1", "0", "resident_kernel"])

    def test_a_missing_architecture_is_named(self):
        self.assert_refused(run_check("--arch", "sm_90"), "no SASS for sm_90 (there is: sm_52)")

    def test_missing_ptx_is_named(self):
        self.assert_refused(run_check("--ptx", "compute_52", ptx_archs=()), "no PTX for compute_52 (there is: none)")

    def test_a_kernel_that_spills_is_refused(self):
        for access in ["LDL R0, [R1]", "@!P0 STL.128 [R1+0x10], R4", "{ STL [R1], R0"]:
            run = run_check(changed={"resident_kernel": GOOD_CODE + 17 * [access]})
            self.assert_refused(run, "sm_52 resident_kernel: 17 accesses to local memory")

    def test_a_few_words_in_local_memory_are_tolerated(self):
        run = run_check(changed={"resident_kernel": GOOD_CODE + 16 * ["LDL R0, [R1]"]})
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_weights_must_be_loaded_16_bytes_at_a_time(self):
        run = run_check(changed={STREAMING[2]: ["LDG.E.64 R4, [R2]", "EXIT"]})
        self.assert_refused(run, f"{STREAMING[2]}: no 128-bit load")

    def test_a_kernel_that_should_be_there_is_missed(self):
        self.assert_refused(run_check(without=["resident_kernel"]), "no kernel is named resident_kernel")

    def test_other_kernels_need_no_wide_load(self):
        run = run_check(changed={"step_kernel<(Phase)11>": ["EXIT"]})
        self.assertEqual((run.returncode, run.stderr), (0, ""))

    def test_a_tool_that_fails_is_reported(self):
        run = subprocess.run([sys.executable, CHECK, "lib.a", "--cuobjdump", "false"], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("--list-elf", run.stderr)


if __name__ == "__main__":
    unittest.main()
