"""The folder rules hold for this tree, and each of them is able to fail."""
import tempfile
import unittest
from pathlib import Path

import folder_rules


def breaches_of(files):
    """What the rules say about a tree of these files {path: content}."""
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            file = Path(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return [f"{path}:{line}: {what}" for path, line, what in folder_rules.breaches(folder)]


HEADER = "// A header.\n"


class FolderRules(unittest.TestCase):
    maxDiff = None

    def assert_breach(self, files, expected):
        found = breaches_of(files)
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_this_tree_keeps_them(self):
        root = Path(__file__).resolve().parents[2]
        self.assertGreater(len(list(folder_rules.source_files(root))), 10)
        self.assertEqual([f"{path}:{line}: {what}" for path, line, what in folder_rules.breaches(root)], [])

    def test_including_from_the_left_is_allowed(self):
        files = {"ringbuf/a.h": HEADER, "runtime/b.cpp": HEADER + '#include "ringbuf/a.h"\n#include <vector>\n'}
        self.assertEqual(breaches_of(files), [])

    def test_including_from_the_right_is_not(self):
        for left, right in zip(folder_rules.ORDER, folder_rules.ORDER[1:]):
            files = {f"{right}/a.h": HEADER, f"{left}/b.h": HEADER + f'#include "{right}/a.h"\n'}
            self.assert_breach(files, f"{left}/b.h:2: {left} may not include from {right}")

    def test_includes_are_written_from_the_root(self):
        self.assert_breach({"host/a.h": HEADER, "host/b.h": HEADER + '#include "a.h"\n'}, "not written from the root")

    def test_an_included_file_exists(self):
        self.assert_breach({"host/b.h": HEADER + '#include "host/a.h"\n'}, "names no file")

    def test_a_source_file_is_never_included(self):
        files = {"device/entry/a.cu": HEADER, "device/b.cuh": HEADER + '#include "device/entry/a.cu"\n'}
        self.assert_breach(files, "include of the source file")

    def test_sources_stand_in_known_folders(self):
        self.assert_breach({"misc/a.cpp": HEADER}, "source file outside")
        self.assert_breach({"a.cpp": HEADER}, "source file outside")

    def test_cuda_sources_stand_in_device(self):
        self.assert_breach({"host/a.cu": HEADER}, "only device holds .cu files")

    def test_phases_use_no_cuda_builtins(self):
        for use in ["int i = threadIdx.x;", "__syncthreads();", "float v = __shfl_down_sync(m, x, 1);", "__ldg(p);",
                    "atomicAdd(p, 1);", 'asm volatile("nop;");', "cudaDeviceSynchronize();"]:
            self.assert_breach({"device/phases/a.cuh": HEADER + use + "\n"}, "device/phases/a.cuh:2: CUDA built-in")
        self.assert_breach({"device/phases/a.cuh": HEADER + "#include <cuda_fp16.h>\n"}, "CUDA header")
        self.assert_breach({"device/layer.cuh": HEADER + "int i = blockIdx.x;\n"}, "CUDA built-in 'blockIdx'")

    def test_builtins_are_allowed_in_comments_and_seams(self):
        files = {"device/phases/a.cuh": HEADER + "// not threadIdx\n/* __ldg\n asm */ int x = 0;\n",
                 "device/seams/b.cuh": HEADER + "int i = threadIdx.x;\n"}
        self.assertEqual(breaches_of(files), [])

    def test_a_file_says_its_role_first(self):
        self.assert_breach({"host/a.h": "#pragma once\n"}, "first line is not a comment")
        self.assert_breach({"host/a.cpp": "int a;\n"}, "first line is not a comment")
        self.assert_breach({"host/a.cpp": "// ------\nint a;\n"}, "first line is not a comment")
        self.assertEqual(breaches_of({"host/a.h": HEADER, "host/a.cpp": "int a;\n"}), [])
        self.assertEqual(breaches_of({"host/a.cpp": "// --trace: the file it goes to.\n"}), [])


if __name__ == "__main__":
    unittest.main()
