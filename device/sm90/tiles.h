// How the Hopper path keeps a weight matrix: in tiles of 16 rows, so that a multiprocessor's share is one run of bytes
// which bulk copies stream, and each lane of a warp finds what its matrix instructions eat in 16-byte pieces.
//
// A tile is 16 rows of the whole width, cut into chunks of `chunk_cols` columns, which follow each other. A chunk is
// what one warp multiplies at a time; it consists of slabs of 64 columns, or for the K-quants of one block of 256
// columns for each of the 16 rows. Rows beyond the matrix are zeros.
//
// Lane 4g + t of a warp holds rows g and g + 8 (half h = 0, 1), and of each 32 columns (block b = 0, 1 of a slab) the
// eight at 8t. Its weights i = 0 … 7 of them lie in a slab, byte by byte, as follows ("16·lane" is the lane's 16
// bytes):
//
//   F16, BF16   2048 B: [b][i / 4][lane] two values each of (h 0, i % 4 < 2), (h 1, i % 4 < 2), (h 0, i % 4 ≥ 2),
//               (h 1, i % 4 ≥ 2)
//   F32         4096 B: [b][h][i / 4][lane] 4 values
//   Q8_0        1088 B: [b][lane] 4 bytes each of (h 0, i < 4), (h 1, i < 4), (h 0, i ≥ 4), (h 1, i ≥ 4); then scales
//   Q4_0, Q4_1  512 B nibbles: [lane] the same four words, block 0 in the bytes' low nibbles, block 1 in the high ones;
//               then scales
//   Q5_0, Q5_1  nibbles as before; 128 B fifth bits: [lane] 32 bits, bit 8 (i % 4) + 4b + 2h + i / 4; then scales
//   scales      [g][h][b] of the block: d, or the pair d, m (Q4_1, Q5_1)
//
// and in a chunk of a K-quant, j being its slab:
//
//   Q4_K        [j] 512 B nibbles as before; then the header
//   Q5_K        [j] nibbles; [j] 128 B fifth bits; the header
//   header      256 B. With four bytes for (h 0, b 0), (h 0, b 1), (h 1, b 0), (h 1, b 1):
//               [g][j] their scales, in the upper two bits those of the minima; [g][j] 16 bits, the low nibbles of the
//               minima, first and second in the bytes' low nibbles, third and fourth in the high ones; [g][h] d, dmin
//   Q6_K        [j] nibbles; [j] 256 B upper pairs: [lane][b] 32 bits, pair 8 (i % 4) + 2 (2h + i / 4), the upper bit
//   of
//               each upside down; [row] 16 scales, one per 16 columns; [g][h] d
//
// A tile takes the bytes of its rows in the file, to the byte.
#pragma once

#include "device/model.h"

namespace vigil::device::tiles {

constexpr std::int32_t kRows = 16;
constexpr std::int32_t kSlabCols = 64;
constexpr std::int32_t kBlockCols = 256;  // of a K-quant
// A stage of the stream holds 2^n chunks, as many as fit: of 16 and 32-bit weights, of Q8_0, of the others. Copies of
// less than 8 KB do not reach the memory's bandwidth, longer ones make the window of copies in flight coarse. Those of
// Q8_0 are half as long where long rows leave the ring little room, so that more than two can be on their way.
constexpr std::int32_t kMaxWideStageBytes = 8192;
constexpr std::int32_t kMaxByteStageBytes = 17408;
constexpr std::int32_t kMaxNarrowStageBytes = 13440;
constexpr std::int32_t kMaxStageLog2 = 4;
constexpr std::int32_t kWarps = 16;  // take a chunk each
constexpr std::int32_t kMaxCols = 1 << 15;

// What the matrix instructions want the input vector as; a set of them is a mask.
enum InputKind : std::uint32_t {
    kInt8Digits = 1,   // three signed base-256 digits against a power of two per 128 values, sums of 32 beside them
    kHalfParts = 2,    // an FP16 value and what it leaves, against a power of two per 128 values
    kBfloatParts = 4,  // three BF16 values, each what the ones before leave
    kFloats = 8,
};

// 0 if the format has no tiles.
constexpr VIGIL_HD std::int32_t slab_bytes(TensorFormat f) {
    switch (f) {
        case TensorFormat::kF16:
        case TensorFormat::kBF16:
            return 2048;
        case TensorFormat::kF32:
            return 4096;
        case TensorFormat::kQ8_0:
            return 1088;
        case TensorFormat::kQ4_0:
            return 576;
        case TensorFormat::kQ4_1:
            return 640;
        case TensorFormat::kQ5_0:
            return 704;
        case TensorFormat::kQ5_1:
            return 768;
        case TensorFormat::kQ4_K:
            return 2304 / 4;
        case TensorFormat::kQ5_K:
            return 2816 / 4;
        case TensorFormat::kQ6_K:
            return 3360 / 4;
        default:
            return 0;
    }
}

// A dense number of a format that has tiles.
constexpr VIGIL_HD std::int32_t format_index(TensorFormat f) {
    constexpr TensorFormat kAll[] = {TensorFormat::kF16,  TensorFormat::kBF16, TensorFormat::kF32,  TensorFormat::kQ8_0,
                                     TensorFormat::kQ4_0, TensorFormat::kQ4_1, TensorFormat::kQ5_0, TensorFormat::kQ5_1,
                                     TensorFormat::kQ4_K, TensorFormat::kQ5_K, TensorFormat::kQ6_K};
    std::int32_t i = 0;
    for (const TensorFormat other : kAll) {
        if (other == f) return i;
        ++i;
    }
    return -1;
}

constexpr VIGIL_HD bool has_blocks_of_256(TensorFormat f) {
    return f == TensorFormat::kQ4_K || f == TensorFormat::kQ5_K || f == TensorFormat::kQ6_K;
}

constexpr VIGIL_HD InputKind input_kind(TensorFormat f) {
    return f == TensorFormat::kF16    ? kHalfParts
           : f == TensorFormat::kBF16 ? kBfloatParts
           : f == TensorFormat::kF32  ? kFloats
                                      : kInt8Digits;
}

constexpr std::int32_t kScaleCols = 128;  // share a power of two
constexpr std::int32_t kSumCols = 32;

// Where the parts of an input of `cols` values lie, in bytes from its start; it is filled up with zeros to groups that
// share a scale. Planes, one per digit or part, are an odd multiple of 64 bytes apart, so that lanes that read
// different planes meet different banks.
struct InputLayout {
    std::int32_t digits, digit_stride;
    std::int32_t halves, half_stride;
    std::int32_t bfloats;  // as far apart as the halves
    std::int32_t floats;
    std::int32_t sums, digit_scales, half_scales;
    std::int32_t bytes;

    VIGIL_HD InputLayout(std::uint32_t kinds, std::int32_t cols) {
        const std::int32_t padded = (cols + kScaleCols - 1) & ~(kScaleCols - 1);
        digit_stride = padded + 64;
        half_stride = 2 * padded + 64;
        std::int32_t at = 0;
        const auto reserve = [&](std::uint32_t kind, std::int32_t n) {
            const std::int32_t here = at;
            if ((kinds & kind) != 0) at += n;
            return here;
        };
        digits = reserve(kInt8Digits, 3 * digit_stride);
        halves = reserve(kHalfParts, 2 * half_stride);
        bfloats = reserve(kBfloatParts, 3 * half_stride);
        floats = reserve(kFloats, 4 * padded);
        sums = reserve(kInt8Digits, padded / kSumCols * 4);
        digit_scales = reserve(kInt8Digits, padded / kScaleCols * 4);
        half_scales = reserve(kHalfParts, padded / kScaleCols * 4);
        bytes = at;
    }
};

// Whether a matrix of this width can be kept in tiles.
constexpr bool fits(TensorFormat f, std::int32_t cols) {
    return slab_bytes(f) > 0 && cols % (has_blocks_of_256(f) ? kBlockCols : kSlabCols) == 0 && cols <= kMaxCols;
}

constexpr VIGIL_HD std::int32_t row_tiles(std::int32_t rows) {
    return (rows + kRows - 1) / kRows;
}

// How a matrix that fits is cut. Chunks are narrow enough that a tile keeps the warps busy, and wide enough that little
// of their work is not multiplication: 1, 2 or 4 slabs. `long_rows`: StreamNeeds::long_rows of the model.
inline TileShape shape(TensorFormat f, std::int32_t cols, bool long_rows) {
    const std::int32_t n_slabs = cols / kSlabCols;
    const bool wide = f == TensorFormat::kF32 || f == TensorFormat::kF16 || f == TensorFormat::kBF16;
    std::int32_t slabs = 4;
    if (!has_blocks_of_256(f)) {
        const std::int32_t widest = f == TensorFormat::kF32 ? 1 : wide ? 2 : 4;
        while (slabs > widest || (slabs > 1 && (slabs / 2) * kWarps >= n_slabs) || n_slabs % slabs != 0) slabs /= 2;
    }
    TileShape s;
    s.chunk_cols = slabs * kSlabCols;
    s.chunks_per_tile = n_slabs / slabs;
    s.chunk_bytes = slabs * slab_bytes(f);
    const std::int32_t most = wide                       ? kMaxWideStageBytes
                              : f == TensorFormat::kQ8_0 ? (long_rows ? kMaxByteStageBytes / 2 : kMaxByteStageBytes)
                                                         : kMaxNarrowStageBytes;
    while (s.stage_log2 < kMaxStageLog2 && s.chunk_bytes << (s.stage_log2 + 1) <= most) ++s.stage_log2;
    return s;
}

// The stages that a round of the warps, a chunk each, lies in.
constexpr VIGIL_HD std::int32_t stages_per_round(const TileShape& s) {
    return kWarps >> s.stage_log2;
}

constexpr std::int32_t kMinCopiesInFlight = 2;  // with fewer the memory stands still between them

// Stages that are on their way at once, for so many bytes.
constexpr VIGIL_HD std::int32_t copies_in_flight(const TileShape& s, std::int32_t bytes) {
    const std::int32_t copies = bytes / (s.chunk_bytes << s.stage_log2);
    return copies < kMinCopiesInFlight ? kMinCopiesInFlight : copies;
}

VIGIL_HD std::size_t tile_bytes(const TileShape& s) {
    return static_cast<std::size_t>(s.chunks_per_tile) * static_cast<std::size_t>(s.chunk_bytes);
}

inline std::size_t matrix_bytes(const Tensor& t) {
    return static_cast<std::size_t>(row_tiles(t.rows)) * tile_bytes(t.tiles);
}

}  // namespace vigil::device::tiles
