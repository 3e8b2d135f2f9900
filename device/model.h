// The glossary: every plain struct that host code fills and the kernels read.
// Shapes are in elements, row-major, the last index fastest. All pointers are device memory unless a comment says
// pinned.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ringbuf/messages.h"

namespace vigil::device {

// A format's enumerator: its number, and the shape of a block, so that no table need be looked up for a row's bytes.
constexpr std::uint32_t format_code(std::uint32_t number, std::uint32_t block_bytes, std::uint32_t log2_block_weights) {
    return block_bytes << 16 | log2_block_weights << 8 | number;
}

// How the weights of a matrix are stored in device memory: byte for byte as in a GGUF file (docs/gguf.md).
enum class TensorFormat : std::uint32_t {
    kF16 = format_code(0, 2, 0),
    kBF16 = format_code(1, 2, 0),
    kF32 = format_code(2, 4, 0),
    kQ8_0 = format_code(3, 34, 5),
    kQ4_0 = format_code(4, 18, 5),
    kQ4_1 = format_code(5, 20, 5),
    kQ5_0 = format_code(6, 22, 5),
    kQ5_1 = format_code(7, 24, 5),
    kQ4_K = format_code(8, 144, 8),
    kQ5_K = format_code(9, 176, 8),
    kQ6_K = format_code(10, 210, 8),
    kQ2_K = format_code(11, 84, 8),
    kQ3_K = format_code(12, 110, 8),
    kIQ4_NL = format_code(13, 18, 5),
    kIQ4_XS = format_code(14, 136, 8),
    kMXFP4 = format_code(15, 17, 5),
};

// Bytes of a block, and weights in it: a power of two. F16, BF16 and F32 have blocks of one weight.
VIGIL_HD constexpr std::int32_t block_bytes(TensorFormat f) {
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(f) >> 16);
}
VIGIL_HD constexpr std::int32_t block_weights(TensorFormat f) {
    return 1 << (static_cast<std::uint32_t>(f) >> 8 & 0xff);
}
// Bytes of `cols` weights of a row, which are whole blocks; a row of 2^31 bytes or more does not occur.
VIGIL_HD constexpr std::int32_t row_bytes(TensorFormat f, std::int32_t cols) {
    return (cols >> (static_cast<std::uint32_t>(f) >> 8 & 0xff)) * block_bytes(f);
}

// How a matrix is cut for the Hopper path; device/sm90/tiles.h says what the parts are and has `shape()`, which fills
// it.
struct TileShape {
    std::int32_t chunk_cols = 0;  // 0: the matrix is not in tiles
    std::int32_t chunks_per_tile = 0;
    std::int32_t chunk_bytes = 0;
    std::int32_t stage_log2 = 0;  // a stage of the stream holds 2^stage_log2 chunks
};

// A matrix [rows, cols]; y = W x has rows outputs. A row is whole blocks and rows follow each other without gaps, as in
// the file: only the first one is known to begin on a 16-byte boundary. cols is a multiple of 8. The memory goes on to
// a multiple of 16 bytes, since the word that ends a block is read whole.
struct Tensor {
    const void* data = nullptr;
    TensorFormat format = TensorFormat::kF16;
    std::int32_t rows = 0;
    std::int32_t cols = 0;
    TileShape tiles = {};  // empty: rows
};

VIGIL_HD constexpr bool has_blocks(TensorFormat f) {
    return block_weights(f) > 1;
}

VIGIL_HD std::size_t matrix_bytes(const Tensor& t) {
    return static_cast<std::size_t>(t.rows) * static_cast<std::size_t>(row_bytes(t.format, t.cols));
}

enum class RopeKind : std::uint32_t {
    kInterleaved = 0,  // rotates (x[2i], x[2i+1]): llama
    kHalves = 1,       // rotates (x[i], x[i + rotary_dim/2]): qwen2, qwen3
};

// What a model asks of the Hopper path: for each vector the set of tiles::InputKind (device/sm90/tiles.h) that the
// matrices want it as, and what the stream should look like.
struct StreamNeeds {
    std::uint32_t dim = 0;                    // of qkv, gate, up and the output matrix
    std::uint32_t heads = 0;                  // of the output projection
    std::uint32_t ffn = 0;                    // of the down projection
    std::int32_t long_rows = 0;               // 1: the feed-forward's are long and leave the ring less room
    std::int32_t stage_bytes = 0;             // the largest stage of any matrix
    std::int32_t stages_per_round = 0;        // the most that a chunk for each warp lies in
    std::int32_t bytes_in_flight = 0;         // see StreamPlan
    std::int32_t logits_bytes_in_flight = 0;  // likewise
    std::int32_t in_rounds = 0;               // likewise
};

struct ModelConfig {
    std::int32_t n_layers = 0;
    std::int32_t dim = 0;
    std::int32_t ffn_dim = 0;
    std::int32_t n_heads = 0;
    std::int32_t n_kv_heads = 0;  // divides n_heads
    std::int32_t head_dim = 0;    // a multiple of 8, at most kMaxHeadDim
    std::int32_t rotary_dim = 0;  // leading part of a head that is rotated; even
    std::int32_t vocab_size = 0;
    std::int32_t max_seq_len = 0;  // positions the KV cache holds
    RopeKind rope_kind = RopeKind::kInterleaved;
    float rope_scale = 1.0f;  // multiplies cos and sin (YaRN's attention factor)
    float norm_eps = 1e-5f;
    float attention_scale = 0.0f;  // 1/sqrt(head_dim)
    StreamNeeds stream;            // all 0 where weights are kept in rows
};

constexpr std::int32_t kMaxHeadDim = 256;
// Query heads that one pass over K and V serves. On a GPU four would halve the reads from L2, but spill: 128 registers
// are all that a block of 512 threads has.
constexpr std::int32_t kGpuHeadsPerPass = 2;
constexpr std::int32_t kCpuHeadsPerPass = 4;
constexpr std::int32_t kMaxKvSplits = 64;  // more parts take longer to add up than they save

// Floats that a block keeps an input vector of n floats in: whole runs of kInputRun columns, and behind them a sum of
// each run's, for machines that want them.
constexpr std::int32_t kInputRun = 32;
VIGIL_HD std::int32_t input_floats(std::int32_t n) {
    const std::int32_t runs = (n + kInputRun - 1) / kInputRun;
    return runs * kInputRun + (runs + 3) / 4 * 4;
}

struct LayerWeights {
    const float* attn_norm = nullptr;  // [dim]
    Tensor wq;                         // [n_heads * head_dim, dim]
    Tensor wk, wv;                     // [n_kv_heads * head_dim, dim]
    const float* bq = nullptr;         // [n_heads * head_dim] or null
    const float* bk = nullptr;         // [n_kv_heads * head_dim] or null
    const float* bv = nullptr;
    const float* q_norm = nullptr;  // [head_dim] or null: RMSNorm of each head before RoPE
    const float* k_norm = nullptr;
    Tensor wo;                        // [dim, n_heads * head_dim]
    const float* ffn_norm = nullptr;  // [dim]
    Tensor w_gate, w_up;              // [ffn_dim, dim]
    Tensor w_down;                    // [dim, ffn_dim]
};

struct ModelWeights {
    Tensor token_embedding;                // [vocab_size, dim]
    const LayerWeights* layers = nullptr;  // [n_layers]
    const float* output_norm = nullptr;    // [dim]
    Tensor output;                         // [vocab_size, dim]; may be the embedding
    // [rotary_dim / 2] turns per position as a 0.64 fixed-point fraction: position * turns is the exact angle
    // modulo one turn for any position, where a float product would lose it.
    const std::uint64_t* rope_turns = nullptr;
};

// FP16 keys and values, [n_layers][n_kv_heads][max_seq_len][head_dim] each.
struct KvCache {
    std::uint16_t* k = nullptr;
    std::uint16_t* v = nullptr;
};

// Softmax statistics of kTileRows logits, made by the block that computed them.
constexpr std::int32_t kTileRows = 32;
struct alignas(16) LogitTile {
    float max_logit;   // of the model's own logits
    float sum_exp;     // sum of exp(logit - max_logit)
    float best_score;  // highest logit after penalties
    std::int32_t best_token;
};

// What attention of a split leaves per head, so that it can have lines of memory of its own.
constexpr VIGIL_HD std::int32_t part_floats(std::int32_t head_dim) {
    return (head_dim + 2 + 31) / 32 * 32;
}

// What phases hand to each other. Each element has one writer per token and phase. The first five are published words
// with their epoch in the lowest bits (see seams/machine.cuh), 0 before their first use.
struct Activations {
    float* residual = nullptr;  // [dim]
    float* qkv = nullptr;       // [(n_heads + 2 * n_kv_heads) * head_dim] before RoPE and QK-norm
    // [n_heads][max_kv_splits * part_floats(head_dim)] attention of each split: max, sum, values, by column and split
    // or, on the Hopper path, by split
    float* partials = nullptr;
    float* heads = nullptr;   // [n_heads * head_dim]
    float* hidden = nullptr;  // [ffn_dim]
    // [n_blocks][input_floats(ffn_dim | n_heads * head_dim)] inputs too long for shared memory, or null
    float* overflow = nullptr;
    float* logits = nullptr;     // [vocab_size]
    float* scores = nullptr;     // [vocab_size] logits after penalties
    LogitTile* tiles = nullptr;  // [ceil(vocab_size / kTileRows)]
};

// Where a job stands. Lives in device memory so that the kernel can leave and come back at any token boundary; while
// the kernel is there, its leader (block 0) has it in shared memory.
struct DecodeState {
    ring::DecodeJob job;
    std::int32_t active = 0;    // a job is under way
    std::int32_t leave = 0;     // the grid leaves at this token boundary
    std::int32_t position = 0;  // of the token that is fed next
    std::int32_t token = 0;     // that token
    std::uint32_t passes = 0;   // tokens fed since the activations were zeroed
    std::int32_t n_generated = 0;
    std::uint32_t n_events = 0;         // of this job
    std::uint32_t next_job = 0;         // job ring index
    std::uint32_t next_event = 0;       // event ring index
    std::uint32_t events_consumed = 0;  // last seen
};

// The Hopper path's weight stream; without it n_stages is 0.
struct StreamPlan {
    std::int32_t n_stages = 0;
    std::int32_t stage_bytes = 0;
    std::int32_t max_copies_in_flight = 0;    // stages on their way at once …
    std::int32_t bytes_in_flight = 0;         // … and no more than so many bytes of a layer's weights …
    std::int32_t logits_bytes_in_flight = 0;  // … or of the output matrix, whose stream disturbs no exchange
    std::int32_t runs_per_layer = 0;  // entries of the list that a block makes of its share (device/sm90/stream.cuh) …
    std::int32_t n_runs = 0;          // … and in all, with the output matrix's
    std::uint32_t kinds = 0;          // of tiles::InputKind, for any vector
    std::int32_t max_cols = 0;        // of an input
    std::int32_t in_rounds = 0;       // 1: long inputs are multiplied as they come (device/sm90/layer.cuh)
    std::int32_t other_heads = 0;     // 1: than the path's own attention takes (device/sm90/heads.h)
};

// How a model is laid over a machine.
struct GridPlan {
    std::int32_t n_blocks = 1;
    std::int32_t n_threads = 1;      // per block
    std::int32_t max_kv_splits = 1;  // parts the KV length is cut into; fixes the order of addition
    std::int32_t shared_bytes = 0;   // per block
    std::int32_t area_bytes = 0;     // of these, what the phases keep their inputs and notes in
    StreamPlan stream;
};

// Synchronisation words in device memory, each on a line of its own. Zeroed before the first launch of a
// process, and `arrivals` before each.
struct SyncWords {
    alignas(128) std::uint32_t arrivals;  // of blocks at the end of a token, counts up
    alignas(128) std::uint32_t abort;     // a block gave up; all leave
    // What comes next, one value per word above the directive's number, so that no word needs an order relative to the
    // others. Never zeroed: each launch counts on from where the last one ended. Writer: the leader.
    alignas(128) std::uint64_t directive[6];
};

// One phase of one token as one block saw it, for --trace. Times are Team::clock_ns, common to all blocks.
// Writer: one thread of the block, when the phase is over; the host reads once the kernel has left.
struct alignas(32) TraceRecord {
    std::uint64_t begin_ns;  // the block turned to the phase: the end of the one before
    std::uint64_t end_ns;    // its share is published; 0: nothing was recorded here
    std::uint32_t wait_ns;   // of that time, from begin_ns on: waiting for what other blocks publish
    std::int32_t token;      // of the job's generated tokens, from 0: DecodeState::n_generated while it is decoded
    std::int16_t layer;      // -1: outside of the layers
    std::uint16_t phase;     // ring::Phase
    std::uint32_t sm;        // multiprocessor that the block runs on; on the CPU the block
};
static_assert(sizeof(TraceRecord) == 32, "two 16-byte stores");

// Everything a kernel needs, by value.
struct KernelArgs {
    ModelConfig config;
    ModelWeights weights;
    KvCache kv;
    Activations act;
    GridPlan plan;

    std::int32_t* history = nullptr;  // [max_seq_len + 1] token ids by position
    DecodeState* state = nullptr;
    SyncWords* sync = nullptr;

    // Pinned host memory.
    const ring::JobSlot* job_slots = nullptr;   // [job_capacity]
    const std::int32_t* job_tokens = nullptr;   // [job_capacity][max_seq_len]
    const std::uint64_t* job_cancel = nullptr;  // [job_capacity] id of a job to cancel
    ring::EventSlot* event_slots = nullptr;     // [event_capacity]
    const ring::HostControl* control = nullptr;
    ring::KernelStatus* status = nullptr;
    ring::BlockFault* faults = nullptr;  // [n_blocks]
    float* logits_out = nullptr;         // [logits_out_rows][vocab_size] for kJobEmitLogits, or null
    std::uint32_t job_capacity = 0;      // powers of two
    std::uint32_t event_capacity = 0;
    std::int32_t logits_out_rows = 0;

    // Deadlines.
    std::uint64_t idle_park_ns = 0;  // without a job for this long the kernel parks itself
    std::uint64_t lease_ns = 0;      // an unchanged lease for this long: the host is gone
    std::uint64_t deadline_ns = 0;   // any other wait

    // The timeline, or null: [n_blocks][trace_tokens][trace_capacity]. Recorded are the tokens that want logits (prompt
    // tokens fed before them are not) with trace_first_token <= n_generated < trace_first_token + trace_tokens; a
    // later job writes over an earlier one's. The block's records of a token go to slots 0, 1, 2, … in any order and
    // as many per phase as it has waits; those beyond trace_capacity are dropped. Under launch and graph dispatch a
    // step's record goes to the slot of its number.
    TraceRecord* trace = nullptr;
    std::int32_t trace_capacity = 0;  // records per block and token
    std::int32_t trace_first_token = 0;
    std::int32_t trace_tokens = 0;
};

// Where record `slot` (less than trace_capacity) of generated token `token` stands; null if it is not traced.
VIGIL_HD TraceRecord* trace_record(const KernelArgs& a, std::int32_t block, std::int32_t token, std::int32_t slot) {
    const std::int32_t row = token - a.trace_first_token;
    if (a.trace == nullptr || row < 0 || row >= a.trace_tokens) return nullptr;
    return a.trace +
           (static_cast<std::size_t>(block) * static_cast<std::size_t>(a.trace_tokens) +
            static_cast<std::size_t>(row)) *
               static_cast<std::size_t>(a.trace_capacity) +
           slot;
}

}  // namespace vigil::device
