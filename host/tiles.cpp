#include "host/tiles.h"

#include <cstdint>
#include <cstring>

#include "host/gguf/blocks.h"

namespace vigil::host {
namespace {

using device::TensorFormat;
namespace tiles = device::tiles;

constexpr int kBlock = 32;   // columns
constexpr int kEighths = 4;  // of a block: the columns of one lane

// Eight quants of one row: the low four bits of weights i and i + 4 in byte i, and what is above.
struct Quants {
    std::uint32_t nibbles = 0;
    std::uint32_t above[8] = {};
};

std::uint32_t pack_nibbles(const std::uint8_t* bytes, bool high) {
    std::uint64_t eight;
    std::memcpy(&eight, bytes, sizeof eight);
    eight = (eight >> (high ? 4 : 0)) & 0x0f0f0f0f0f0f0f0full;
    return static_cast<std::uint32_t>(eight) | static_cast<std::uint32_t>(eight >> 32) << 4;
}

template <class Block>
Block load_block(const std::byte* row, int index) {
    Block block;
    std::memcpy(&block, row + static_cast<std::size_t>(index) * sizeof(Block), sizeof block);
    return block;
}

// The quants of columns [8 * eighth, 8 * eighth + 8) of block `block` of 32.
template <class Block>
Quants quants32(const Block& b, int eighth) {
    Quants q;
    q.nibbles = pack_nibbles(b.nibbles + 8 * (eighth % 2), eighth >= 2);
    if constexpr (requires { b.fifth_bits; }) {
        for (int i = 0; i < 8; ++i) q.above[i] = (b.fifth_bits[eighth] >> i) & 1u;
    }
    return q;
}

Quants quants256(const gguf::BlockQ4_K& b, int block, int eighth) {
    return {pack_nibbles(b.nibbles + block / 2 * 32 + 8 * eighth, block % 2 != 0), {}};
}

Quants quants256(const gguf::BlockQ5_K& b, int block, int eighth) {
    Quants q{pack_nibbles(b.nibbles + block / 2 * 32 + 8 * eighth, block % 2 != 0), {}};
    for (int i = 0; i < 8; ++i) q.above[i] = (b.fifth_bits[8 * eighth + i] >> block) & 1u;
    return q;
}

Quants quants256(const gguf::BlockQ6_K& b, int block, int eighth) {
    const int half = block / 4;
    const int within = block % 4;
    Quants q{pack_nibbles(b.nibbles + 64 * half + 32 * (within % 2) + 8 * eighth, within >= 2), {}};
    for (int i = 0; i < 8; ++i) q.above[i] = (b.upper_bits[32 * half + 8 * eighth + i] >> (2 * within)) & 3u;
    return q;
}

// Where a row stands in a tile.
struct Place {
    int g, h;
    explicit Place(int row) : g(row % 8), h(row / 8) {}
    int lane(int eighth) const { return 4 * g + eighth; }
};

template <class T>
void put(std::byte* at, std::size_t offset, const T& value) {
    std::memcpy(at + offset, &value, sizeof value);
}

// A word that several rows have bits in.
void put_bits(std::byte* at, std::size_t offset, std::uint32_t bits) {
    std::uint32_t word;
    std::memcpy(&word, at + offset, sizeof word);
    word |= bits;
    std::memcpy(at + offset, &word, sizeof word);
}

std::size_t at_lane(int lane, int bytes) {
    return static_cast<std::size_t>(lane) * static_cast<std::size_t>(bytes);
}

// Eight nibbles: four in each of the words of the two parts of a lane's columns, block 0 in the low ones.
void put_nibbles(std::byte* slab, Place p, int eighth, int b, const Quants& q) {
    for (int part = 0; part < 2; ++part)
        put_bits(slab, at_lane(p.lane(eighth), 16) + static_cast<std::size_t>((2 * part + p.h) * 4),
                 ((q.nibbles >> (4 * part)) & 0x0f0f0f0fu) << (4 * b));
}

std::uint32_t spread_fifth(const Quants& q, int b, int h) {
    std::uint32_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= q.above[i] << (8 * (i % 4) + 4 * b + 2 * h + i / 4);
    return bits;
}

// F16, BF16: pairs of weights.
void pack_halves(const std::byte* row, int n_slabs, Place p, std::byte* tile) {
    for (int block = 0; block < 2 * n_slabs; ++block)
        for (int eighth = 0; eighth < kEighths; ++eighth)
            for (int pair = 0; pair < 4; ++pair)
                std::memcpy(tile + 1024 * block + 512 * (pair / 2) + at_lane(p.lane(eighth), 16) +
                                static_cast<std::size_t>(8 * (pair % 2) + 4 * p.h),
                            row + 2 * (block * kBlock + 8 * eighth + 2 * pair), 4);
}

// F32: pieces of a row as they are.
void pack_floats(const std::byte* row, int n_slabs, Place p, std::byte* tile) {
    constexpr int weight_bytes = 4;
    constexpr int pieces = weight_bytes / 2;  // of 16 bytes that eight weights take
    for (int slab = 0; slab < n_slabs; ++slab)
        for (int b = 0; b < 2; ++b)
            for (int eighth = 0; eighth < kEighths; ++eighth)
                for (int piece = 0; piece < pieces; ++piece) {
                    const int column = slab * tiles::kSlabCols + b * kBlock + 8 * eighth;
                    const auto to = static_cast<std::size_t>(
                        slab * 1024 * weight_bytes + ((2 * b + p.h) * pieces + piece) * 512 + 16 * p.lane(eighth));
                    std::memcpy(tile + to, row + column * weight_bytes + 16 * piece, 16);
                }
}

void pack_q8_0(const std::byte* row, int n_slabs, Place p, std::byte* tile) {
    for (int slab = 0; slab < n_slabs; ++slab) {
        std::byte* to = tile + static_cast<std::size_t>(slab) * 1088;
        for (int b = 0; b < 2; ++b) {
            const auto block = load_block<gguf::BlockQ8_0>(row, 2 * slab + b);
            for (int eighth = 0; eighth < kEighths; ++eighth)
                for (int part = 0; part < 2; ++part)
                    std::memcpy(to + b * 512 + at_lane(p.lane(eighth), 16) + part * 8 + p.h * 4,
                                block.q + 8 * eighth + 4 * part, 4);
            put(to, static_cast<std::size_t>(1024 + ((p.g * 2 + p.h) * 2 + b) * 2), block.d);
        }
    }
}

template <class Block>
void pack_blocks32(const std::byte* row, int n_slabs, int slab_bytes, Place p, std::byte* tile) {
    constexpr bool kFive = requires(Block block) {
        block.fifth_bits;
    };
    constexpr bool kStored = requires(Block block) {
        block.m;
    };
    constexpr int kScales = 512 + (kFive ? 128 : 0);
    for (int slab = 0; slab < n_slabs; ++slab) {
        std::byte* to = tile + static_cast<std::size_t>(slab) * static_cast<std::size_t>(slab_bytes);
        for (int b = 0; b < 2; ++b) {
            const auto block = load_block<Block>(row, 2 * slab + b);
            for (int eighth = 0; eighth < kEighths; ++eighth) {
                const Quants q = quants32(block, eighth);
                put_nibbles(to, p, eighth, b, q);
                if (kFive) put_bits(to, 512 + at_lane(p.lane(eighth), 4), spread_fifth(q, b, p.h));
            }
            const auto scale = static_cast<std::size_t>(kScales + ((p.g * 2 + p.h) * 2 + b) * (kStored ? 4 : 2));
            put(to, scale, block.d);
            if constexpr (kStored) put(to, scale + 2, block.m);
        }
    }
}

// The header's part for a block of 256: what it has for each pair of blocks of 32 is shared with the other half's row.
void put_scales(std::byte* header, Place p, const gguf::PackedScalesK& scales) {
    for (int i = 0; i < 8; ++i) {
        const std::uint32_t scale = scales.scale(i);
        const std::uint32_t minimum = scales.minimum(i);
        const int byte = 2 * p.h + i % 2;
        const auto pair = static_cast<std::size_t>(4 * p.g + i / 2);
        put_bits(header, 4 * pair, (scale | (minimum >> 4) << 6) << (8 * byte));
        // Two pairs share a word.
        put_bits(header, 128 + pair / 2 * 4, (minimum & 15) << (16 * (pair % 2) + 8 * (byte % 2) + 4 * (byte / 2)));
    }
}

template <class Block>
void pack_blocks256(const std::byte* row, int n_chunks, int chunk_bytes, int index, std::byte* tile) {
    constexpr bool kFive = requires(Block block) {
        block.fifth_bits;
    };
    constexpr bool kSix = requires(Block block) {
        block.upper_bits;
    };
    const Place p(index);
    for (int c = 0; c < n_chunks; ++c) {
        std::byte* to = tile + static_cast<std::size_t>(c) * static_cast<std::size_t>(chunk_bytes);
        const auto block = load_block<Block>(row, c);
        for (int u = 0; u < 8; ++u) {
            const int slab = u / 2;
            const int b = u % 2;
            for (int eighth = 0; eighth < kEighths; ++eighth) {
                const Quants q = quants256(block, u, eighth);
                const int lane = p.lane(eighth);
                put_nibbles(to + 512 * slab, p, eighth, b, q);
                if (kFive)
                    put_bits(to, static_cast<std::size_t>(2048 + 128 * slab) + at_lane(lane, 4),
                             spread_fifth(q, b, p.h));
                if (kSix) {
                    std::uint32_t pairs = 0;
                    for (int i = 0; i < 8; ++i) pairs |= (q.above[i] ^ 2u) << (8 * (i % 4) + 2 * (2 * p.h + i / 4));
                    put_bits(to, static_cast<std::size_t>(2048 + 256 * slab + 4 * b) + at_lane(lane, 8), pairs);
                }
            }
        }
        if constexpr (kSix) {
            std::memcpy(to + 3072 + 16 * index, block.scales, sizeof block.scales);
            put(to, static_cast<std::size_t>(3328 + 4 * p.g + 2 * p.h), block.d);
        } else {
            std::byte* header = to + 2048 + (kFive ? 512 : 0);
            put_scales(header, p, block.scales);
            put(header, static_cast<std::size_t>(192 + 8 * p.g + 4 * p.h), block.d);
            put(header, static_cast<std::size_t>(192 + 8 * p.g + 4 * p.h + 2), block.dmin);
        }
    }
}

}  // namespace

void pack_tile(const device::Tensor& w, std::span<const std::byte> rows, std::span<std::byte> tile) {
    const int n_slabs = w.cols / tiles::kSlabCols;
    const int slab_bytes = tiles::slab_bytes(w.format);
    const std::size_t row_bytes = tiles::tile_bytes(w.tiles) / tiles::kRows;  // as many as in the file
    std::memset(tile.data(), 0, tile.size());
    for (int r = 0; r < tiles::kRows && static_cast<std::size_t>(r) * row_bytes < rows.size(); ++r) {
        const std::byte* row = rows.data() + static_cast<std::size_t>(r) * row_bytes;
        const Place p(r);
        switch (w.format) {
            case TensorFormat::kF16:
            case TensorFormat::kBF16:
                pack_halves(row, n_slabs, p, tile.data());
                break;
            case TensorFormat::kF32:
                pack_floats(row, n_slabs, p, tile.data());
                break;
            case TensorFormat::kQ8_0:
                pack_q8_0(row, n_slabs, p, tile.data());
                break;
            case TensorFormat::kQ4_0:
                pack_blocks32<gguf::BlockQ4_0>(row, n_slabs, slab_bytes, p, tile.data());
                break;
            case TensorFormat::kQ4_1:
                pack_blocks32<gguf::BlockQ4_1>(row, n_slabs, slab_bytes, p, tile.data());
                break;
            case TensorFormat::kQ5_0:
                pack_blocks32<gguf::BlockQ5_0>(row, n_slabs, slab_bytes, p, tile.data());
                break;
            case TensorFormat::kQ5_1:
                pack_blocks32<gguf::BlockQ5_1>(row, n_slabs, slab_bytes, p, tile.data());
                break;
            case TensorFormat::kQ4_K:
                pack_blocks256<gguf::BlockQ4_K>(row, n_slabs / 4, 4 * slab_bytes, r, tile.data());
                break;
            case TensorFormat::kQ5_K:
                pack_blocks256<gguf::BlockQ5_K>(row, n_slabs / 4, 4 * slab_bytes, r, tile.data());
                break;
            case TensorFormat::kQ6_K:
                pack_blocks256<gguf::BlockQ6_K>(row, n_slabs / 4, 4 * slab_bytes, r, tile.data());
                break;
            default:
                break;  // has no tiles
        }
    }
}

}  // namespace vigil::host
