#include "host/stream_needs.h"

#include <algorithm>
#include <fmt/format.h>
#include <string>

#include "device/sm90/tiles.h"
#include "host/tensor_format.h"

namespace vigil::host {

namespace tiles = device::tiles;

namespace {

constexpr std::int32_t kMaxShortCols = 8192;

}  // namespace

device::StreamNeeds stream_needs(const gguf::File& file, const device::ModelConfig& c) {
    device::StreamNeeds needs;
    const bool long_rows = c.ffn_dim > kMaxShortCols;
    needs.long_rows = long_rows ? 1 : 0;
    bool all_fit = true;
    double bytes = 0;
    double weights = 0;
    const auto look_at = [&](const std::string& name, std::uint32_t& kinds, std::int32_t cols) {
        const gguf::TensorInfo* t = file.find_tensor(name);
        if (t == nullptr || !tiles::fits(format_of(t->type), cols)) {
            all_fit = false;
            return;
        }
        const device::TensorFormat format = format_of(t->type);
        const device::TileShape shape = tiles::shape(format, cols, long_rows);
        kinds |= tiles::input_kind(format);
        needs.stage_bytes = std::max(needs.stage_bytes, shape.chunk_bytes << shape.stage_log2);
        needs.stages_per_round = std::max(needs.stages_per_round, tiles::stages_per_round(shape));
        bytes += static_cast<double>(t->data.size());
        weights += static_cast<double>(t->data.size()) / tiles::slab_bytes(format) * tiles::kRows * tiles::kSlabCols;
    };
    for (std::int32_t i = 0; i < c.n_layers; ++i) {
        const auto name = [&](const char* part) { return fmt::format("blk.{}.{}.weight", i, part); };
        for (const char* part : {"attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"})
            look_at(name(part), needs.dim, c.dim);
        look_at(name("attn_output"), needs.heads, c.n_heads * c.head_dim);
        look_at(name("ffn_down"), needs.ffn, c.ffn_dim);
    }
    std::uint32_t embedding = 0;  // a look-up, no product, unless the output matrix is the same
    look_at("token_embd.weight", embedding, c.dim);
    if (file.find_tensor("output.weight") != nullptr)
        look_at("output.weight", needs.dim, c.dim);
    else
        needs.dim |= embedding;
    if (!all_fit) return {};
    // What was best on an H200 (docs/performance.md). In a layer more copies in flight slow down the exchanges, fewer
    // the stream; the longer the rows are, the more the stream is worth.
    const double bits = 8 * bytes / weights;
    if (bits > 12) {
        needs.bytes_in_flight = needs.logits_bytes_in_flight = 49'152;
    } else if (bits > 7) {
        needs.bytes_in_flight = long_rows ? 52'224 : 34'816;
        needs.logits_bytes_in_flight = 52'224;
    } else {
        needs.bytes_in_flight = long_rows ? 46'080 : 27'648;
        needs.logits_bytes_in_flight = 40'320;
    }
    // Rounds pay with 16-bit weights, with 8-bit ones where rows are long, with fewer bits never.
    needs.in_rounds = bits > 12 || (bits > 7 && long_rows) ? 1 : 0;
    return needs;
}

}  // namespace vigil::host
