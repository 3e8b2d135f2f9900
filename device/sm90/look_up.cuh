// Eight neighbouring weights of a matrix in tiles (sm90/tiles.h), straight from device memory: for look-ups in the
// embedding and for prefill, which unpacks matrices. Nothing in it needs sm_90.
#pragma once

#include <cuda_fp16.h>

#include "device/sm90/tiles.h"

namespace vigil::device::tiles {

// Bytes that are read where they lie.
struct TileBytes {
    const char* at;

    VIGIL_DEVICE std::uint32_t word(int offset) const {
        return __ldg(reinterpret_cast<const unsigned int*>(at + offset));
    }
    VIGIL_DEVICE uint4 quad(int offset) const { return __ldg(reinterpret_cast<const uint4*>(at + offset)); }
    VIGIL_DEVICE float half(int offset) const {
        return __half2float(__ushort_as_half(__ldg(reinterpret_cast<const unsigned short*>(at + offset))));
    }
    VIGIL_DEVICE int byte(int offset) const { return __ldg(reinterpret_cast<const signed char*>(at + offset)); }
};

// Where eight weights are: the lane and the part of its bytes, and the blocks' place in a chunk.
struct TilePlace {
    int lane, g, h, b;
    int slab;  // of the chunk
};

VIGIL_DEVICE float scaled(float d, int q, float m) {
    return d * static_cast<float>(q) + m;
}

// The nibbles of a lane's eight weights: four in each of two words, those of block 0 in the bytes' low halves.
struct Nibbles {
    std::uint32_t words[2];

    VIGIL_DEVICE Nibbles(const TileBytes& slab, const TilePlace& p) {
        VIGIL_UNROLL
        for (int part = 0; part < 2; ++part) words[part] = slab.word(p.lane * 16 + (2 * part + p.h) * 4) >> (4 * p.b);
    }
    VIGIL_DEVICE int operator[](int i) const { return static_cast<int>((words[i / 4] >> (8 * (i % 4))) & 15); }
};

VIGIL_DEVICE void unpack_blocks32(TensorFormat f, const TileBytes& slab, const TilePlace& p, float (&out)[8]) {
    const bool eight = f == TensorFormat::kQ8_0;
    const bool five = f == TensorFormat::kQ5_0 || f == TensorFormat::kQ5_1;
    const bool stored = f == TensorFormat::kQ4_1 || f == TensorFormat::kQ5_1;
    const int scales = (eight ? 1024 : 512) + (five ? 128 : 0);
    const int index = (p.g * 2 + p.h) * 2 + p.b;
    const float d = slab.half(scales + index * (stored ? 4 : 2));
    const float m = stored ? slab.half(scales + index * 4 + 2) : 0.0f;
    if (eight) {
        const int at = p.b * 512 + p.lane * 16 + p.h * 4;
        const std::uint32_t words[2] = {slab.word(at), slab.word(at + 8)};
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i)
            out[i] = d * static_cast<float>(static_cast<std::int8_t>(words[i / 4] >> (8 * (i % 4))));
        return;
    }
    const int centre = stored ? 0 : five ? 16 : 8;
    const Nibbles nibbles(slab, p);
    const std::uint32_t bits = five ? slab.word(512 + p.lane * 4) >> (4 * p.b + 2 * p.h) : 0;
    VIGIL_UNROLL
    for (int i = 0; i < 8; ++i) {
        const int fifth = static_cast<int>((bits >> (8 * (i % 4) + i / 4)) & 1);
        out[i] = scaled(d, nibbles[i] + 16 * fifth - centre, m);
    }
}

VIGIL_DEVICE void unpack_blocks256(TensorFormat f, const TileBytes& chunk, const TilePlace& p, float (&out)[8]) {
    const int row = p.g + 8 * p.h;
    const int block = 2 * p.slab + p.b;  // of 32 weights
    const Nibbles nibbles({chunk.at + 512 * p.slab}, p);
    if (f == TensorFormat::kQ6_K) {
        const std::uint32_t pairs = chunk.word(2048 + 256 * p.slab + p.lane * 8 + 4 * p.b) >> (4 * p.h);
        const int half_block = p.lane % 4 / 2;
        const float d = chunk.half(3328 + 4 * p.g + 2 * p.h) *
                        static_cast<float>(chunk.byte(3072 + 16 * row + 2 * block + half_block));
        VIGIL_UNROLL
        for (int i = 0; i < 8; ++i) {
            const int upper = static_cast<int>((pairs >> (8 * (i % 4) + 2 * (i / 4))) & 3);
            out[i] = d * static_cast<float>(nibbles[i] + 16 * (upper ^ 2) - 32);
        }
        return;
    }
    const bool five = f == TensorFormat::kQ5_K;
    const int header = 2048 + (five ? 512 : 0);
    const int byte = 2 * p.h + p.b;
    const std::uint32_t both = chunk.word(header + 16 * p.g + 4 * p.slab) >> (8 * byte);
    const std::uint32_t lows = chunk.word(header + 128 + 8 * p.g + p.slab / 2 * 4) >> (16 * (p.slab % 2));
    const std::uint32_t minimum = ((both >> 2) & 0x30) | ((lows >> (8 * p.b + 4 * p.h)) & 15);
    const int ds = header + 192 + 8 * p.g + 4 * p.h;
    const float d = chunk.half(ds) * static_cast<float>(both & 63);
    const float m = -(chunk.half(ds + 2) * static_cast<float>(minimum));
    const std::uint32_t bits = five ? chunk.word(2048 + 128 * p.slab + p.lane * 4) >> (4 * p.b + 2 * p.h) : 0;
    VIGIL_UNROLL
    for (int i = 0; i < 8; ++i) {
        const int fifth = static_cast<int>((bits >> (8 * (i % 4) + i / 4)) & 1);
        out[i] = scaled(d, nibbles[i] + 16 * fifth, m);
    }
}

// Columns [8 * eighth, 8 * eighth + 8) of a row, as the formats' definition has them, operation by operation.
VIGIL_DEVICE void load_weights8(const Tensor& w, int row, int eighth, float (&out)[8]) {
    const TileShape& shape = w.tiles;
    const int chunk_eighths = shape.chunk_cols / 8;
    const int chunk = eighth / chunk_eighths;
    const int within = eighth - chunk * chunk_eighths;
    const TileBytes bytes{static_cast<const char*>(w.data) + static_cast<std::size_t>(row / kRows) * tile_bytes(shape) +
                          static_cast<std::size_t>(chunk) * static_cast<std::size_t>(shape.chunk_bytes)};
    TilePlace p;
    p.g = row % 8;
    p.h = row % kRows / 8;
    p.lane = 4 * p.g + within % 4;
    p.b = within / 4 % 2;
    p.slab = within / 8;
    const TileBytes slab{bytes.at + p.slab * slab_bytes(w.format)};
    switch (w.format) {
        case TensorFormat::kF16:
        case TensorFormat::kBF16: {
            const auto value = [&](std::uint32_t v) {
                return w.format == TensorFormat::kBF16 ? __uint_as_float(v << 16)
                                                       : __half2float(__ushort_as_half(static_cast<unsigned short>(v)));
            };
            VIGIL_UNROLL
            for (int pair = 0; pair < 4; ++pair) {
                const std::uint32_t word =
                    slab.word((2 * p.b + pair / 2) * 512 + p.lane * 16 + 8 * (pair % 2) + 4 * p.h);
                out[2 * pair] = value(word & 0xffffu);
                out[2 * pair + 1] = value(word >> 16);
            }
            return;
        }
        case TensorFormat::kF32:
            VIGIL_UNROLL
            for (int part = 0; part < 2; ++part) {
                const uint4 raw = slab.quad(((2 * p.b + p.h) * 2 + part) * 512 + p.lane * 16);
                out[4 * part] = __uint_as_float(raw.x), out[4 * part + 1] = __uint_as_float(raw.y);
                out[4 * part + 2] = __uint_as_float(raw.z), out[4 * part + 3] = __uint_as_float(raw.w);
            }
            return;
        case TensorFormat::kQ4_K:
        case TensorFormat::kQ5_K:
        case TensorFormat::kQ6_K:
            return unpack_blocks256(w.format, bytes, p, out);
        default:
            return unpack_blocks32(w.format, slab, p, out);
    }
}

}  // namespace vigil::device::tiles
