#!/usr/bin/env python3
"""Makes golden/TYPE.bin: blocks of every supported tensor type and the weights that the `gguf` package unpacks them to.

File: uint32 number of weights, the blocks, then the weights as float32; all little endian.
Needs: pip install numpy gguf. Run in this folder; the output is the same on every run.
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Byte offsets of the half-precision scales in a block.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "Q2_K": [80, 82], "Q3_K": [108], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
}
# MXFP4's scale is a power of two: the subnormal ones, the usual ones, and the greatest whose weights are finite.
EXPONENTS = [0, 1, 2, 3, 126, 127, 128, 251, 252]
# Zero, minus zero, the least and greatest subnormals, the least and greatest normals, one.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00]


def finite_halves(rng, count):
    return rng.integers(0, 0x7C00, count) | (rng.integers(0, 2, count) << 15)


def quantised(name, rng):
    _, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    n_blocks = len(EXTREMES) + 8
    blocks = rng.integers(0, 256, (n_blocks, block_bytes)).astype(np.uint8)
    if name == "MXFP4":
        blocks[:, 0] = np.resize(EXPONENTS, n_blocks)
    for position, offset in enumerate(SCALES[name]):
        usual = (rng.normal(0, 0.05, n_blocks)).astype(np.float16).view(np.uint16)
        # Each scale meets its extremes in another order, so that they also meet each other.
        usual[: len(EXTREMES)] = np.roll(EXTREMES, 5 * position)
        blocks[:, offset : offset + 2] = usual.reshape(-1, 1).view(np.uint8)
    return blocks


def floats(name, rng):
    if name == "F32":
        special = np.array([0, 0x80000000, 1, 0x807FFFFF, 0x7F7FFFFF, 0x7F800000, 0xFF800000], np.uint32)
        return np.concatenate([special, rng.normal(0, 1, 121).astype(np.float32).view(np.uint32)]).view(np.uint8)
    if name == "F16":
        values = np.concatenate([EXTREMES, [0x7C00, 0xFC00], finite_halves(rng, 1010)])
    else:
        values = np.concatenate([EXTREMES, [0x7F80, 0xFF80, 0x007F, 0x0080], rng.integers(0, 0x7F80, 1008)])
    return values.astype(np.uint16).view(np.uint8)


def main():
    folder = Path(__file__).parent / "golden"
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(["F32", "F16", "BF16", *SCALES]):
        rng = np.random.default_rng(number)
        blocks = quantised(name, rng) if name in SCALES else floats(name, rng)
        weights = dequantize(blocks.reshape(1, -1), GGMLQuantizationType[name]).astype(np.float32).ravel()
        content = np.uint32(weights.size).tobytes() + blocks.tobytes() + weights.tobytes()
        (folder / f"{name}.bin").write_bytes(content)
        print(f"{name}: {weights.size} weights, {len(content)} bytes")


if __name__ == "__main__":
    main()
