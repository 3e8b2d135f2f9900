#include "host/stream_needs.h"

#include <algorithm>
#include <fmt/format.h>
#include <string>

#include "device/sm90/tiles.h"
#include "host/tensor_format.h"

namespace vigil::host {

namespace tiles = device::tiles;

device::StreamNeeds stream_needs(const gguf::File& file, const device::ModelConfig& c) {
    device::StreamNeeds needs;
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
        const device::TileShape shape = tiles::shape(format, cols);
        kinds |= tiles::input_kind(format);
        needs.stage_bytes = std::max(needs.stage_bytes, shape.chunk_bytes << shape.stage_log2);
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
    // What was best on an H200 (docs/performance.md): 48 KB of copies in flight for 16-bit weights, 34 KB for 8-bit and
    // 18 KB for 4-bit ones; more slow down the exchanges, less the stream.
    const double bits = 8 * bytes / weights;
    const std::int32_t in_flight = bits > 12 ? 49'152 : bits > 7 ? 34'816 : 18'432;
    needs.copies_in_flight = std::max(2, in_flight / needs.stage_bytes);
    // Rounds pay with 16-bit weights, with 8-bit ones where rows are long, with fewer bits never.
    needs.in_rounds = bits > 12 || (bits > 7 && c.ffn_dim > 8192) ? 1 : 0;
    return needs;
}

}  // namespace vigil::host
