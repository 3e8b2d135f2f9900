// Causal attention of a chunk on tensor cores: x[t, h] = softmax(x[t, h] · K^T * scale) · V over positions up to t's.
//   reads   x [n_tokens, n_heads * head_dim], FP16 queries, normed and rotated; K and V of positions [0, first +
//   n_tokens) writes  x, in place: a row is read and written by one block split   tiles of query rows over blocks, as
//   in prefill/attention.cuh: a row is a token and a query head of one KV
//           head's group, so the group shares what is loaded of K and V
// Products have FP16 factors and FP32 sums; scores, softmax and the running sums are FP32. A row's bits depend neither
// on the chunk nor on the tile it is in: keys go by in the same tiles from position 0 on, and a tile that a row can't
// see changes nothing.
#pragma once

#include "device/prefill/common.cuh"
#include "device/prefill/sm80/mma.cuh"

namespace vigil::device::sm80 {

// A warp holds `RowTiles` times 16 query rows; two of them halve what it reads of K and V from shared memory per
// product, which otherwise is the limit, one makes twice as many blocks of a short prompt.
template <int HeadDim, int RowTiles>
struct AttentionTile {
    static constexpr int kWarps = 4;
    static constexpr int kThreads = 32 * kWarps;
    static constexpr int kWarpRows = 16 * RowTiles;
    static constexpr int kRows = kWarps * kWarpRows;
    static constexpr int kKeys = 64;
    static constexpr int kStride = HeadDim + 8;  // halves; eight of padding spread eight rows over all banks
    static constexpr int kChunks = HeadDim / 8;  // of 16 bytes per row
    static constexpr int kSharedBytes = 2 * (kRows + 2 * kKeys) * kStride;
    // Queries stay in registers where these suffice, else they are read again for every tile of keys.
    static constexpr bool kHoldsQueries = HeadDim * RowTiles <= 128;
    static_assert(HeadDim % 16 == 0 && kKeys * kChunks % kThreads == 0);
};

// Positions [begin, begin + kKeys) of one head's K or V into shared memory; zeros from `end` on.
template <class Tile>
VIGIL_DEVICE void copy_keys(std::uint32_t to, const std::uint16_t* head, int begin, int end) {
    // The rows lie behind one another, so the thread's chunks are evenly apart there.
    const std::uint16_t* from = head + row_offset(begin, 8 * Tile::kChunks) + 8 * threadIdx.x;
    VIGIL_UNROLL
    for (int i = 0; i < Tile::kKeys * Tile::kChunks / Tile::kThreads; ++i) {
        const int at = i * Tile::kThreads + static_cast<int>(threadIdx.x);
        const int key = at / Tile::kChunks;
        const int chunk = at % Tile::kChunks;
        copy16_async(to + static_cast<std::uint32_t>(2 * (key * Tile::kStride + 8 * chunk)),
                     from + 8 * i * Tile::kThreads, begin + key < end);
    }
}

template <int HeadDim, int RowTiles>
VIGIL_DEVICE void attend(const PrefillChunk& c, int layer, char* shared) {
    using Tile = AttentionTile<HeadDim, RowTiles>;
    constexpr int kSteps = HeadDim / 16;  // of a product over the head
    constexpr int kKeyTiles = Tile::kKeys / 8;
    constexpr int kHeadTiles = HeadDim / 8;
    const ModelConfig& config = c.model.config;
    const int per_group = config.n_heads / config.n_kv_heads;
    const int all_rows = c.n_tokens * per_group;
    const int tiles = (all_rows + Tile::kRows - 1) / Tile::kRows;
    // The longest first: later tokens see more positions.
    const int kv_head = static_cast<int>(blockIdx.x) % config.n_kv_heads;
    const int first_row = (tiles - 1 - static_cast<int>(blockIdx.x) / config.n_kv_heads) * Tile::kRows;
    const int n_rows = min(all_rows - first_row, Tile::kRows);
    const int n_positions = c.first + (first_row + n_rows - 1) / per_group + 1;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp_row = static_cast<int>(threadIdx.x) / 32 * Tile::kWarpRows;

    auto* x = static_cast<std::uint16_t*>(c.buffers.x);
    const auto query = [&](int r) {  // of the tile's row r
        const int token = (first_row + r) / per_group;
        const int head = kv_head * per_group + (first_row + r) % per_group;
        return x + (row_offset(token, config.n_heads) + static_cast<std::size_t>(head)) * HeadDim;
    };
    const std::size_t cache = cache_offset(c, layer, kv_head);
    const std::uint16_t* keys = c.model.kv.k + cache;
    const std::uint16_t* values = c.model.kv.v + cache;
    const std::uint32_t q_at = shared_address(shared);
    const std::uint32_t k_at = q_at + 2 * Tile::kRows * Tile::kStride;
    const std::uint32_t v_at = k_at + 2 * Tile::kKeys * Tile::kStride;

    for (int i = static_cast<int>(threadIdx.x); i < Tile::kRows * Tile::kChunks; i += Tile::kThreads) {
        const int r = i / Tile::kChunks;
        const int chunk = i % Tile::kChunks;
        copy16_async(q_at + static_cast<std::uint32_t>(2 * (r * Tile::kStride + 8 * chunk)), query(r) + 8 * chunk,
                     r < n_rows);
    }
    copy_keys<Tile>(k_at, keys, 0, n_positions);
    commit_copies();

    // Where this lane points load_matrices to: for queries and values the second matrix is eight rows down and the
    // third eight columns on, for keys the other way round.
    const std::uint32_t row_first = static_cast<std::uint32_t>(2 * ((lane % 16) * Tile::kStride + 8 * (lane / 16)));
    const std::uint32_t column_first =
        static_cast<std::uint32_t>(2 * ((lane / 16 * 8 + lane % 8) * Tile::kStride + 8 * (lane / 8 % 2)));
    const std::uint32_t my_q = q_at + static_cast<std::uint32_t>(2 * warp_row * Tile::kStride) + row_first;
    const auto load_query = [&](std::uint32_t(&a)[4], int m, int step) {
        load_matrices(a, my_q + static_cast<std::uint32_t>(2 * (16 * m * Tile::kStride + 16 * step)));
    };

    // Of each of the lane's rows: the highest score so far and the lane's share of the sum.
    float top[RowTiles][2];
    float total[RowTiles][2];
    float out[RowTiles][kHeadTiles][4];
    VIGIL_UNROLL
    for (int m = 0; m < RowTiles; ++m) {
        VIGIL_UNROLL
        for (int half = 0; half < 2; ++half) {
            top[m][half] = -INFINITY;
            total[m][half] = 0.0f;
        }
        VIGIL_UNROLL
        for (int d = 0; d < kHeadTiles; ++d) VIGIL_UNROLL
        for (int i = 0; i < 4; ++i) out[m][d][i] = 0.0f;
    }
    const int least_visible = c.first + (first_row + warp_row) / per_group + 1;
    const int most_visible = c.first + (first_row + warp_row + Tile::kWarpRows - 1) / per_group + 1;
    const float scale = config.attention_scale * 1.4426950408889634f;  // of powers of two

    std::uint32_t held[Tile::kHoldsQueries ? RowTiles : 1][kSteps][4];
    if constexpr (Tile::kHoldsQueries) {
        wait_copies<0>();
        __syncthreads();
        VIGIL_UNROLL
        for (int m = 0; m < RowTiles; ++m) VIGIL_UNROLL
        for (int step = 0; step < kSteps; ++step) load_query(held[m][step], m, step);
    }

    for (int begin = 0; begin < n_positions; begin += Tile::kKeys) {
        // The keys have landed, and every warp is done with the values before these.
        wait_copies<0>();
        __syncthreads();
        copy_keys<Tile>(v_at, values, begin, n_positions);
        commit_copies();

        const bool sees = begin < most_visible;
        float score[RowTiles][kKeyTiles][4];
        if (sees) {
            VIGIL_UNROLL
            for (int m = 0; m < RowTiles; ++m) VIGIL_UNROLL
            for (int n = 0; n < kKeyTiles; ++n) VIGIL_UNROLL
            for (int i = 0; i < 4; ++i) score[m][n][i] = 0.0f;
            VIGIL_UNROLL
            for (int step = 0; step < kSteps; ++step) {
                std::uint32_t read[RowTiles][4];
                if constexpr (!Tile::kHoldsQueries) VIGIL_UNROLL
                for (int m = 0; m < RowTiles; ++m) load_query(read[m], m, step);
                VIGIL_UNROLL
                for (int n = 0; n < kKeyTiles; n += 2) {
                    std::uint32_t b[4];
                    load_matrices(
                        b, k_at + column_first + static_cast<std::uint32_t>(2 * (8 * n * Tile::kStride + 16 * step)));
                    VIGIL_UNROLL
                    for (int m = 0; m < RowTiles; ++m) {
                        const auto& a = Tile::kHoldsQueries ? held[Tile::kHoldsQueries ? m : 0][step] : read[m];
                        multiply_16x8x16(score[m][n], a, b[0], b[1]);
                        multiply_16x8x16(score[m][n + 1], a, b[2], b[3]);
                    }
                }
            }
            if (begin + Tile::kKeys > least_visible) {
                VIGIL_UNROLL
                for (int m = 0; m < RowTiles; ++m) VIGIL_UNROLL
                for (int half = 0; half < 2; ++half) {
                    const int row = first_row + warp_row + 16 * m + 8 * half + lane / 4;
                    const int visible = c.first + row / per_group + 1 - begin - 2 * (lane % 4);
                    VIGIL_UNROLL
                    for (int n = 0; n < kKeyTiles; ++n) VIGIL_UNROLL
                    for (int i = 0; i < 2; ++i)
                        if (8 * n + i >= visible) score[m][n][2 * half + i] = -INFINITY;
                }
            }

            VIGIL_UNROLL
            for (int m = 0; m < RowTiles; ++m) VIGIL_UNROLL
            for (int half = 0; half < 2; ++half) {
                float highest = top[m][half];
                VIGIL_UNROLL
                for (int n = 0; n < kKeyTiles; ++n)
                    highest = fmaxf(highest, fmaxf(score[m][n][2 * half], score[m][n][2 * half + 1]));
                highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 1));
                highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 2));
                // Position 0 is visible to every row, so from the first tile on the maximum is finite.
                const float rescale = exp2_fast((top[m][half] - highest) * scale);
                const float offset = -highest * scale;
                float sum = 0.0f;
                VIGIL_UNROLL
                for (int n = 0; n < kKeyTiles; ++n) VIGIL_UNROLL
                for (int i = 2 * half; i < 2 * half + 2; ++i) {
                    score[m][n][i] = exp2_fast(fmaf(score[m][n][i], scale, offset));
                    sum += score[m][n][i];
                }
                total[m][half] = fmaf(total[m][half], rescale, sum);
                top[m][half] = highest;
                VIGIL_UNROLL
                for (int d = 0; d < kHeadTiles; ++d) {
                    out[m][d][2 * half] *= rescale;
                    out[m][d][2 * half + 1] *= rescale;
                }
            }
        }

        // The values have landed, and every warp is done with the keys.
        wait_copies<0>();
        __syncthreads();
        if (begin + Tile::kKeys < n_positions) copy_keys<Tile>(k_at, keys, begin + Tile::kKeys, n_positions);
        commit_copies();
        if (!sees) continue;
        VIGIL_UNROLL
        for (int step = 0; step < Tile::kKeys / 16; ++step) {
            std::uint32_t a[RowTiles][4];
            VIGIL_UNROLL
            for (int m = 0; m < RowTiles; ++m) VIGIL_UNROLL
            for (int i = 0; i < 4; ++i) {
                const float(&part)[4] = score[m][2 * step + i / 2];
                a[m][i] = pack_halves(part[i % 2 * 2], part[i % 2 * 2 + 1]);
            }
            VIGIL_UNROLL
            for (int d = 0; d < kHeadTiles; d += 2) {
                std::uint32_t b[4];
                load_matrices_transposed(
                    b, v_at + row_first + static_cast<std::uint32_t>(2 * (16 * step * Tile::kStride + 8 * d)));
                VIGIL_UNROLL
                for (int m = 0; m < RowTiles; ++m) {
                    multiply_16x8x16(out[m][d], a[m], b[0], b[1]);
                    multiply_16x8x16(out[m][d + 1], a[m], b[2], b[3]);
                }
            }
        }
    }

    // Through the warp's own rows of the queries' memory, so that what goes out is 16 bytes wide.
    auto* rows = reinterpret_cast<std::uint16_t*>(shared) + warp_row * Tile::kStride;
    __syncwarp();
    VIGIL_UNROLL
    for (int m = 0; m < RowTiles; ++m) VIGIL_UNROLL
    for (int half = 0; half < 2; ++half) {
        float sum = total[m][half];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        const float norm = 1.0f / sum;
        std::uint16_t* row = rows + (16 * m + 8 * half + lane / 4) * Tile::kStride + 2 * (lane % 4);
        VIGIL_UNROLL
        for (int d = 0; d < kHeadTiles; ++d)
            *reinterpret_cast<std::uint32_t*>(row + 8 * d) =
                pack_halves(out[m][d][2 * half] * norm, out[m][d][2 * half + 1] * norm);
    }
    __syncwarp();
    for (int i = lane; i < Tile::kWarpRows * Tile::kChunks; i += 32) {
        const int r = i / Tile::kChunks;
        const int chunk = i % Tile::kChunks;
        if (warp_row + r < n_rows)
            *reinterpret_cast<uint4*>(query(warp_row + r) + 8 * chunk) =
                *reinterpret_cast<const uint4*>(rows + r * Tile::kStride + 8 * chunk);
    }
}

}  // namespace vigil::device::sm80
