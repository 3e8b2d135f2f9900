#!/usr/bin/env python3
"""Makes golden/weights.f16 and golden/reference_errors.txt: weights of several distributions, and how far off ggml's own
quantisers are on them and on tensors of SmolLM2-135M-Instruct (the file that VIGIL_MODEL names).

weights.f16: for each distribution, in the order of DISTRIBUTIONS, N_WEIGHTS halves, little endian.
reference_errors.txt: lines "SOURCE TYPE RMSE", SOURCE being a distribution or a tensor.
Needs: pip install numpy gguf llama-cpp-python (for ggml_quantize_chunk in its shared library). Run in this folder; the
output is the same on every run.
"""

import ctypes
import os
from pathlib import Path

import llama_cpp
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize

TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"]
N_WEIGHTS = 4096
TENSORS = ["token_embd.weight", "blk.0.attn_q.weight", "blk.7.attn_v.weight", "blk.15.ffn_gate.weight",
           "blk.29.ffn_down.weight"]
MOST_OF_A_TENSOR = 1 << 18  # weights from its start


def groups_of_different_size(rng):
    return rng.normal(0, 0.05, N_WEIGHTS) * np.repeat(np.exp(rng.normal(0, 1, N_WEIGHTS // 32)), 32)


def with_outliers(rng):
    return rng.normal(0, 0.05, N_WEIGHTS) * np.where(rng.random(N_WEIGHTS) < 0.01, 20, 1)


DISTRIBUTIONS = {
    "normal": lambda rng: rng.normal(0, 0.02, N_WEIGHTS),
    "uniform": lambda rng: rng.uniform(-1, 1, N_WEIGHTS),
    "laplace": lambda rng: rng.laplace(0, 0.1, N_WEIGHTS),
    "positive": lambda rng: np.abs(rng.normal(0, 1, N_WEIGHTS)),
    "offset": lambda rng: rng.normal(1, 0.1, N_WEIGHTS),
    "outliers": with_outliers,
    "groups": groups_of_different_size,
    "sparse": lambda rng: np.where(rng.random(N_WEIGHTS) < 0.9, 0, rng.normal(0, 1, N_WEIGHTS)),
}


def load_ggml():
    library = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                            ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    return library


def reference_error(ggml, name, weights):
    block_weights, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    blocks = np.zeros(weights.size // block_weights * block_bytes, np.uint8)
    n_rows = weights.size // 256
    ggml.ggml_quantize_chunk(GGMLQuantizationType[name].value, weights.ctypes.data, blocks.ctypes.data, 0, n_rows, 256,
                             None)
    back = dequantize(blocks.reshape(n_rows, -1), GGMLQuantizationType[name]).astype(np.float64).ravel()
    return np.sqrt(np.mean((back - weights) ** 2))


def main():
    ggml = load_ggml()
    folder = Path(__file__).parent / "golden"
    folder.mkdir(exist_ok=True)
    lines = []
    halves = []
    for number, (source, draw) in enumerate(DISTRIBUTIONS.items()):
        half = draw(np.random.default_rng(number)).astype(np.float16)
        halves.append(half.tobytes())
        lines += [f"{source} {name} {reference_error(ggml, name, half.astype(np.float32)):.9g}" for name in TYPES]
    (folder / "weights.f16").write_bytes(b"".join(halves))

    model = GGUFReader(os.environ["VIGIL_MODEL"])
    for tensor in model.tensors:
        if tensor.name not in TENSORS:
            continue
        weights = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).ravel()[:MOST_OF_A_TENSOR]
        weights = np.ascontiguousarray(weights[: weights.size // 256 * 256])
        lines += [f"{tensor.name} {name} {reference_error(ggml, name, weights):.9g}" for name in TYPES]
    (folder / "reference_errors.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
