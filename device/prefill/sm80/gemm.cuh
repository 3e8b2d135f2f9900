// GEMM of a chunk on tensor cores: out[t, r] (+)= sum over c of x[t, c] * w[r, c], FP16 factors and FP32 sums.
//   reads   x [n_tokens, cols] FP16, w [rows, cols] FP16, or BF16 or FP32, which become FP16 on their way into shared
//           memory; formats of blocks are unpacked beforehand (unpack.cuh)
//   writes  out [n_tokens] rows of w.rows values, out_stride apart; adds to what is there if `add`
//   split   tiles of tokens by weight rows over blocks
// Every element is summed over the columns in the same order whatever the tile, so the choice of the tile and the
// number of tokens change no bits.
#pragma once

#include "device/prefill/common.cuh"
#include "device/prefill/sm80/mma.cuh"
#include "device/seams/leaves_cuda.cuh"

namespace vigil::device::sm80 {

// Tokens by weight rows; four warps, each with a quarter, two beside two. A warp's 64 by 64 read little enough from
// shared memory to keep the tensor cores fed; smaller tiles are for products that would not fill the GPU otherwise:
// those of few tokens are bound by the weights, of which many blocks have more on their way.
template <int Tokens, int Rows, int Depth>
struct ProductTile {
    static constexpr int kTokens = Tokens;
    static constexpr int kRows = Rows;
    static constexpr int kDepth = Depth;
    static constexpr int kThreads = 128;
    static constexpr int kStages = 4;
    static constexpr int kStride = kDepth + 8;                // halves; padding spreads eight rows over all banks
    static constexpr int kWeightsAt = 2 * kTokens * kStride;  // bytes into a stage, behind the inputs
    static constexpr int kStageBytes = 2 * (kTokens + kRows) * kStride;
    static constexpr int kSharedBytes = kStages * kStageBytes;
    // 16-byte chunks of a stage that a thread brings.
    static constexpr int kInputChunks = kTokens * kDepth / 8 / kThreads;
    static constexpr int kWeightChunks = kRows * kDepth / 8 / kThreads;
    static_assert(kTokens % 32 == 0 && kRows % 32 == 0 && kInputChunks > 0 && kWeightChunks > 0);
};
using LargeProduct = ProductTile<128, 128, 32>;
using MediumProduct = ProductTile<64, 64, 64>;
using SmallProduct = ProductTile<32, 32, 128>;

// The thread's part of a stage: 16-byte chunks `i` of a matrix with kDepth columns.
template <class Tile>
struct StageChunk {
    int row;
    int col;
    std::uint32_t offset;  // in the stage, in bytes
    VIGIL_DEVICE explicit StageChunk(int i) {
        const int at = i * Tile::kThreads + static_cast<int>(threadIdx.x);
        row = at / (Tile::kDepth / 8);
        col = at % (Tile::kDepth / 8) * 8;
        offset = static_cast<std::uint32_t>(2 * (row * Tile::kStride + col));
    }
};

// Copies the thread's `Chunks` chunks of FP16 rows [first_row, …) of a matrix, stage by stage. All that does not change
// from stage to stage is computed once.
template <class Tile, int Chunks>
class HalfSource {
   public:
    VIGIL_DEVICE HalfSource(const void* matrix, int first_row, int n_rows, int cols) : cols_(cols) {
        const StageChunk<Tile> first(0);
        from_ = static_cast<const std::uint16_t*>(matrix) + row_offset(first_row + first.row, cols) + first.col;
        to_ = first.offset;
        n_inside_ = (n_rows - first_row - first.row + kRowsApart - 1) / kRowsApart;
    }
    VIGIL_DEVICE void copy(std::uint32_t stage, int col) const {
        const bool inside = col + static_cast<int>(threadIdx.x) % (Tile::kDepth / 8) * 8 < cols_;
        VIGIL_UNROLL
        for (int i = 0; i < Chunks; ++i)
            copy16_async(stage + to_ + static_cast<std::uint32_t>(2 * i * kRowsApart * Tile::kStride),
                         from_ + col + row_offset(i * kRowsApart, cols_), inside && i < n_inside_);
    }

   private:
    static constexpr int kRowsApart = Tile::kThreads / (Tile::kDepth / 8);  // from a chunk to the thread's next
    const std::uint16_t* from_;
    std::uint32_t to_;
    int n_inside_;  // of the chunks
    int cols_;
};

// The thread's weights of a stage, as FP16, on their way through registers.
template <class Tile>
struct UnpackedWeights {
    uint4 halves[Tile::kWeightChunks];

    VIGIL_DEVICE void load(const GemmArgs& g, int row, int col) {
        VIGIL_UNROLL
        for (int i = 0; i < Tile::kWeightChunks; ++i) {
            const StageChunk<Tile> chunk(i);
            float w[8] = {};
            if (row + chunk.row < g.w.rows && col + chunk.col < g.w.cols)
                load_plain_weights8(g.w.format, row_pointer(g.w, row + chunk.row),
                                    static_cast<std::size_t>((col + chunk.col) / 8), w);
            halves[i] = make_uint4(pack_clamped(w[0], w[1]), pack_clamped(w[2], w[3]), pack_clamped(w[4], w[5]),
                                   pack_clamped(w[6], w[7]));
        }
    }
    VIGIL_DEVICE void store(char* stage) const {
        VIGIL_UNROLL
        for (int i = 0; i < Tile::kWeightChunks; ++i)
            *reinterpret_cast<uint4*>(stage + StageChunk<Tile>(i).offset) = halves[i];
    }
};

template <class Tile, bool kHalfWeights>
VIGIL_DEVICE void multiply(const GemmArgs& g, char* shared) {
    constexpr int kTokenTiles = Tile::kTokens / 2 / 16;  // of a warp, 16 tokens each
    constexpr int kRowTiles = Tile::kRows / 2 / 8;       // of a warp, 8 weight rows each
    const int token_tiles = (g.n_tokens + Tile::kTokens - 1) / Tile::kTokens;
    const int token = static_cast<int>(blockIdx.x) % token_tiles * Tile::kTokens;
    const int row = static_cast<int>(blockIdx.x) / token_tiles * Tile::kRows;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int warp_token = warp / 2 * (Tile::kTokens / 2);
    const int warp_row = warp % 2 * (Tile::kRows / 2);
    const int n_steps = (g.w.cols + Tile::kDepth - 1) / Tile::kDepth;
    const std::uint32_t base = shared_address(shared);
    const auto stage_of = [](int step) { return step % Tile::kStages * Tile::kStageBytes; };

    const HalfSource<Tile, Tile::kInputChunks> inputs(g.x, token, g.n_tokens, g.w.cols);
    const HalfSource<Tile, Tile::kWeightChunks> weights(g.w.data, row, g.w.rows, g.w.cols);
    UnpackedWeights<Tile> unpacked;
    VIGIL_UNROLL
    for (int step = 0; step < Tile::kStages - 1; ++step) {
        const std::uint32_t stage = base + static_cast<std::uint32_t>(stage_of(step));
        inputs.copy(stage, step * Tile::kDepth);
        if constexpr (kHalfWeights) {
            weights.copy(stage + Tile::kWeightsAt, step * Tile::kDepth);
        } else {
            unpacked.load(g, row, step * Tile::kDepth);
            unpacked.store(shared + stage_of(step) + Tile::kWeightsAt);
        }
        commit_copies();
    }

    // Where this lane points load_matrices to: see multiply_16x8x16 for the order of the quarters.
    const std::uint32_t my_input =
        static_cast<std::uint32_t>(2 * ((warp_token + lane % 16) * Tile::kStride + 8 * (lane / 16)));
    const std::uint32_t my_weight = static_cast<std::uint32_t>(
        Tile::kWeightsAt + 2 * ((warp_row + lane / 16 * 8 + lane % 8) * Tile::kStride + 8 * (lane / 8 % 2)));

    float sum[kTokenTiles][kRowTiles][4] = {};
    for (int step = 0; step < n_steps; ++step) {
        // This step's stage has landed, and every warp is done with the one before it, which is filled anew now.
        wait_copies<Tile::kStages - 2>();
        __syncthreads();
        const int next = step + Tile::kStages - 1;
        if (next < n_steps) {
            const std::uint32_t stage = base + static_cast<std::uint32_t>(stage_of(next));
            inputs.copy(stage, next * Tile::kDepth);
            if constexpr (kHalfWeights)
                weights.copy(stage + Tile::kWeightsAt, next * Tile::kDepth);
            else
                unpacked.load(g, row, next * Tile::kDepth);
        }
        commit_copies();

        const std::uint32_t stage = base + static_cast<std::uint32_t>(stage_of(step));
        VIGIL_UNROLL
        for (int k = 0; k < Tile::kDepth; k += 16) {
            std::uint32_t a[kTokenTiles][4];
            VIGIL_UNROLL
            for (int m = 0; m < kTokenTiles; ++m)
                load_matrices(a[m], stage + my_input + static_cast<std::uint32_t>(2 * (16 * m * Tile::kStride + k)));
            VIGIL_UNROLL
            for (int n = 0; n < kRowTiles; n += 2) {
                std::uint32_t b[4];
                load_matrices(b, stage + my_weight + static_cast<std::uint32_t>(2 * (8 * n * Tile::kStride + k)));
                VIGIL_UNROLL
                for (int m = 0; m < kTokenTiles; ++m) {
                    multiply_16x8x16(sum[m][n], a[m], b[0], b[1]);
                    multiply_16x8x16(sum[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
        if constexpr (!kHalfWeights)
            if (next < n_steps) unpacked.store(shared + stage_of(next) + Tile::kWeightsAt);
    }

    const bool in_pairs = g.out_stride % 2 == 0 && reinterpret_cast<std::uintptr_t>(g.out) % sizeof(float2) == 0;
    VIGIL_UNROLL
    for (int m = 0; m < kTokenTiles; ++m) VIGIL_UNROLL
    for (int half = 0; half < 2; ++half) {
        const int t = token + warp_token + 16 * m + 8 * half + lane / 4;
        if (t >= g.n_tokens) continue;
        VIGIL_UNROLL
        for (int n = 0; n < kRowTiles; ++n) {
            const int r = row + warp_row + 8 * n + 2 * (lane % 4);
            float* out = g.out + row_offset(t, g.out_stride) + r;
            const float first = sum[m][n][2 * half];
            const float second = sum[m][n][2 * half + 1];
            if (in_pairs && r + 1 < g.w.rows) {
                auto* pair = reinterpret_cast<float2*>(out);
                const float2 old = g.add ? *pair : float2{0.0f, 0.0f};
                *pair = float2{old.x + first, old.y + second};
            } else {
                if (r < g.w.rows) out[0] = g.add ? out[0] + first : first;
                if (r + 1 < g.w.rows) out[1] = g.add ? out[1] + second : second;
            }
        }
    }
}

}  // namespace vigil::device::sm80
