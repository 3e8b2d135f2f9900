// Model: checks every tensor's shape, lays the weights out in one allocation and uploads them piece by piece: matrices
// as they are in the file, vectors as FP32.
#include <algorithm>
#include <atomic>
#include <exception>
#include <fmt/format.h>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <variant>

#include "host/config_keys.h"
#include "host/gguf/dequantize.h"
#include "host/gguf/finite.h"
#include "host/model.h"
#include "host/stream_needs.h"
#include "host/tensor_format.h"
#include "host/tiles.h"
#include "host/workspace.h"

namespace vigil::host {
namespace {

using device::TensorFormat;

constexpr std::size_t kAlignment = 256;         // of each tensor on the device
constexpr std::size_t kPieceWeights = 1 << 20;  // checked and copied at a time; a multiple of every type's block
constexpr unsigned kMaxThreads = 8;             // more do not check faster than the device takes it
constexpr std::size_t kMiB = 1 << 20;

// Bytes of `n` elements, which are whole blocks.
std::size_t bytes_of(TensorFormat format, std::size_t n) {
    return n / static_cast<std::size_t>(device::block_weights(format)) *
           static_cast<std::size_t>(device::block_bytes(format));
}

// One tensor of the file and where it goes, in the file's own format or unpacked to FP32.
struct Transfer {
    const gguf::TensorInfo* tensor;
    TensorFormat format;  // on the device
    std::size_t n_elements;
    std::size_t offset;          // in the arena
    device::Tensor matrix = {};  // the matrix's shape, if it goes into tiles

    bool in_tiles() const { return matrix.tiles.chunk_cols != 0; }
    std::size_t bytes() const {
        return in_tiles() ? device::tiles::matrix_bytes(matrix) : bytes_of(format, n_elements);
    }
};

// A pointer field of the device structs that is set once the arena is there.
struct Patch {
    std::size_t transfer;
    std::variant<const void**, const float**> field;
};

// Decides what is uploaded where. Fields are patched when the address of the arena is known.
class Layout {
   public:
    Layout(const gguf::File& file, const device::ModelConfig& config)
        : file_(file),
          config_(config),
          needs_bias_(supported_architecture(file) == "qwen2"),
          needs_qk_norm_(supported_architecture(file) == "qwen3") {}

    void place(device::ModelWeights& w, std::vector<device::LayerWeights>& layers) {
        const auto c = config_;
        matrix(w.token_embedding, "token_embd.weight", c.vocab_size, c.dim);
        vector(w.output_norm, "output_norm.weight", c.dim);
        for (std::int32_t i = 0; i < c.n_layers; ++i) place_layer(layers[static_cast<std::size_t>(i)], i);
        tied_ = file_.find_tensor("output.weight") == nullptr;
        if (!tied_) matrix(w.output, "output.weight", c.vocab_size, c.dim);
        used_.insert("rope_freqs.weight");
        refuse_unused();
    }

    // Reserves room for `bytes` that do not come from the file; returns their offset.
    std::size_t reserve(std::size_t bytes) {
        const std::size_t offset = bytes_;
        bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
        return offset;
    }

    void patch(const std::byte* arena, device::ModelWeights& w) const {
        for (const Patch& p : patches_) {
            const void* address = arena + transfers_[p.transfer].offset;
            if (const auto* matrix = std::get_if<const void**>(&p.field))
                **matrix = address;
            else
                *std::get<const float**>(p.field) = static_cast<const float*>(address);
        }
        if (tied_) w.output = w.token_embedding;
    }

    const std::vector<Transfer>& transfers() const { return transfers_; }
    std::size_t bytes() const { return bytes_; }

   private:
    void place_layer(device::LayerWeights& l, std::int32_t index) {
        const auto& c = config_;
        const std::int32_t head_rows = c.n_heads * c.head_dim;
        const std::int32_t kv_rows = c.n_kv_heads * c.head_dim;
        const auto name = [&](const char* part) { return fmt::format("blk.{}.{}", index, part); };
        vector(l.attn_norm, name("attn_norm.weight"), c.dim);
        matrix(l.wq, name("attn_q.weight"), head_rows, c.dim);
        matrix(l.wk, name("attn_k.weight"), kv_rows, c.dim);
        matrix(l.wv, name("attn_v.weight"), kv_rows, c.dim);
        vector_if(needs_bias_, l.bq, name("attn_q.bias"), head_rows);
        vector_if(needs_bias_, l.bk, name("attn_k.bias"), kv_rows);
        vector_if(needs_bias_, l.bv, name("attn_v.bias"), kv_rows);
        vector_if(needs_qk_norm_, l.q_norm, name("attn_q_norm.weight"), c.head_dim);
        vector_if(needs_qk_norm_, l.k_norm, name("attn_k_norm.weight"), c.head_dim);
        matrix(l.wo, name("attn_output.weight"), c.dim, head_rows);
        vector(l.ffn_norm, name("ffn_norm.weight"), c.dim);
        matrix(l.w_gate, name("ffn_gate.weight"), c.ffn_dim, c.dim);
        matrix(l.w_up, name("ffn_up.weight"), c.ffn_dim, c.dim);
        matrix(l.w_down, name("ffn_down.weight"), c.dim, c.ffn_dim);
    }

    void matrix(device::Tensor& out, const std::string& name, std::int32_t rows, std::int32_t cols) {
        const gguf::TensorInfo& t = file_.require_tensor(name);
        const bool fits = t.dims.size() == 2 && t.dims[0] == static_cast<std::uint64_t>(cols) &&
                          t.dims[1] == static_cast<std::uint64_t>(rows);
        if (!fits) fail_shape(t, fmt::format("[{}, {}]", cols, rows));
        out.rows = rows;
        out.cols = cols;
        out.format = format_of(t.type);
        if (config_.stream.dim != 0) out.tiles = device::tiles::shape(out.format, cols, config_.stream.long_rows != 0);
        add(t, out.format, &out.data, out);
    }

    void vector(const float*& out, const std::string& name, std::int32_t n) {
        const gguf::TensorInfo& t = file_.require_tensor(name);
        if (t.dims.size() != 1 || t.dims[0] != static_cast<std::uint64_t>(n)) fail_shape(t, fmt::format("[{}]", n));
        add(t, TensorFormat::kF32, &out);
    }

    // Where the architecture does not need it, a file may still have it.
    void vector_if(bool needed, const float*& out, const std::string& name, std::int32_t n) {
        if (needed || file_.find_tensor(name) != nullptr) vector(out, name, n);
    }

    void add(const gguf::TensorInfo& t, TensorFormat format, decltype(Patch::field) field,
             const device::Tensor& matrix = {}) {
        used_.insert(t.name);
        patches_.push_back({transfers_.size(), field});
        Transfer transfer{&t, format, static_cast<std::size_t>(t.cols() * t.rows()), 0, matrix};
        transfer.offset = reserve(transfer.bytes());
        transfers_.push_back(transfer);
    }

    // A tensor nobody reads means that the model computes something we don't, such as a bias we would leave out.
    void refuse_unused() const {
        for (const gguf::TensorInfo& t : file_.tensors())
            if (!used_.contains(t.name))
                throw file_.error(fmt::format(
                    "tensor '{}': vigil has no use for it in this architecture, so the model's answers would be wrong",
                    t.name));
    }

    [[noreturn]] void fail_shape(const gguf::TensorInfo& t, const std::string& expected) const {
        throw file_.error(
            fmt::format("tensor '{}': shape [{}], expected {}", t.name, fmt::join(t.dims, ", "), expected));
    }

    const gguf::File& file_;
    const device::ModelConfig& config_;
    const bool needs_bias_;
    const bool needs_qk_norm_;
    std::vector<Transfer> transfers_;
    std::vector<Patch> patches_;
    std::set<std::string, std::less<>> used_;
    std::size_t bytes_ = 0;
    bool tied_ = false;
};

// A run of elements of one tensor: the unit of work and of staging memory.
struct Piece {
    std::size_t transfer;
    std::size_t first;
    std::size_t count;
};

// Uploads all pieces with a few threads, each with its own staging memory, so that checks overlap the copies.
class Uploader {
   public:
    Uploader(const gguf::File& file, Device& device, const std::vector<Transfer>& transfers, std::byte* arena,
             const Model::Progress& progress)
        : file_(file), device_(device), transfers_(transfers), arena_(arena), progress_(progress) {
        for (std::size_t t = 0; t < transfers.size(); ++t) {
            total_bytes_ += transfers[t].bytes();
            std::size_t at_once = kPieceWeights;
            if (transfers[t].in_tiles())
                at_once = std::max(std::size_t{1}, at_once / tile_weights(t)) * tile_weights(t);
            for (std::size_t first = 0; first < transfers[t].n_elements; first += at_once)
                pieces_.push_back({t, first, std::min(at_once, transfers[t].n_elements - first)});
        }
    }

    void run() {
        const unsigned n_threads = std::clamp(std::thread::hardware_concurrency(), 2u, kMaxThreads);
        std::vector<std::jthread> threads;
        for (unsigned i = 1; i < n_threads; ++i) threads.emplace_back([this] { work(); });
        work();
        threads.clear();
        if (error_) std::rethrow_exception(error_);
        device_.flush_uploads();
    }

    std::size_t total_bytes() const { return total_bytes_; }

   private:
    void work() {
        std::vector<float> wide;
        std::vector<std::byte> tiles;
        for (;;) {
            const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
            if (index >= pieces_.size()) return;
            try {
                transfer(pieces_[index], wide, tiles);
            } catch (...) {
                const std::lock_guard lock(mutex_);
                if (!error_) error_ = std::current_exception();
                next_ = pieces_.size();
            }
        }
    }

    std::size_t tile_weights(std::size_t transfer) const {
        return static_cast<std::size_t>(device::tiles::kRows * transfers_[transfer].matrix.cols);
    }

    // A whole number of tiles of one matrix, whose rows are `rows`. Returns their bytes.
    std::size_t transfer_tiles(const Piece& piece, std::span<const std::byte> rows, std::vector<std::byte>& tiles) {
        const Transfer& t = transfers_[piece.transfer];
        const std::size_t tile_bytes = device::tiles::tile_bytes(t.matrix.tiles);
        const std::size_t n = (piece.count + tile_weights(piece.transfer) - 1) / tile_weights(piece.transfer);
        tiles.resize(n * tile_bytes);
        for (std::size_t i = 0; i < n; ++i)
            pack_tile(t.matrix, rows.subspan(i * tile_bytes, std::min(tile_bytes, rows.size() - i * tile_bytes)),
                      std::span(tiles).subspan(i * tile_bytes, tile_bytes));
        device_.upload(arena_ + t.offset + piece.first / tile_weights(piece.transfer) * tile_bytes, tiles.data(),
                       tiles.size());
        return tiles.size();
    }

    void transfer(const Piece& piece, std::vector<float>& wide, std::vector<std::byte>& tiles) {
        const Transfer& t = transfers_[piece.transfer];
        const TensorFormat in_file = format_of(t.tensor->type);
        const auto blocks = t.tensor->data.subspan(bytes_of(in_file, piece.first), bytes_of(in_file, piece.count));
        const auto first_block = piece.first / static_cast<std::size_t>(device::block_weights(in_file));
        gguf::require_finite(file_, *t.tensor, first_block, blocks);
        if (t.in_tiles()) return report(transfer_tiles(piece, blocks, tiles));
        std::byte* to = arena_ + t.offset + bytes_of(t.format, piece.first);
        const std::size_t bytes = bytes_of(t.format, piece.count);
        if (t.format == in_file) {
            device_.upload(to, blocks.data(), bytes);
        } else {
            wide.resize(piece.count);
            gguf::dequantize(t.tensor->type, blocks, wide);
            device_.upload(to, wide.data(), bytes);
        }
        report(bytes);
    }

    void report(std::size_t bytes) {
        const std::lock_guard lock(mutex_);
        done_bytes_ += bytes;
        if (progress_) progress_(done_bytes_, total_bytes_);
    }

    const gguf::File& file_;
    Device& device_;
    const std::vector<Transfer>& transfers_;
    std::byte* arena_;
    const Model::Progress& progress_;
    std::vector<Piece> pieces_;
    std::atomic<std::size_t> next_{0};
    std::size_t total_bytes_ = 0;

    std::mutex mutex_;  // of what follows, and around the calls of progress_
    std::size_t done_bytes_ = 0;
    std::exception_ptr error_;
};

std::size_t to_mib(std::size_t bytes) {
    return (bytes + kMiB - 1) / kMiB;
}

// Before anything is allocated: do the weights and everything a decode needs fit?
void require_memory(const gguf::File& file, Device& device, const device::ModelConfig& config, std::size_t weights) {
    const std::size_t workspace = Workspace::bytes_needed(config, device.plan(config));
    const std::size_t free = device.info().free_bytes;
    if (weights + workspace <= free) return;
    const std::size_t kv = kv_cache_bytes(config);
    const std::string needs = fmt::format(
        "{}: needs {} MiB for weights, {} MiB for {} positions of KV cache and {} MiB for activations; {} has "
        "{} MiB free",
        file.path().string(), to_mib(weights), to_mib(kv), config.max_seq_len, to_mib(workspace - kv),
        device.info().name, free / kMiB);
    const std::size_t rest = weights + workspace - kv;
    const std::size_t per_position = kv / static_cast<std::size_t>(config.max_seq_len);
    const std::size_t fitting = rest < free ? (free - rest) / per_position : 0;
    if (fitting > 0)
        throw DeviceError(fmt::format("{}; a context of {} or less fits (-c {})", needs, fitting, fitting));
    throw DeviceError(needs + "; no context fits, choose a smaller model or another device");
}

}  // namespace

Model::Model(const gguf::File& file, Device& device, std::int32_t max_seq_len, const Progress& progress,
             const std::function<void()>& before_upload)
    : device_(device), config_(read_config(file, max_seq_len)) {
    std::vector<device::LayerWeights> layers(static_cast<std::size_t>(config_.n_layers));
    const std::vector<std::uint64_t> turns = rope_turns(file, config_);
    config_.stream = stream_needs(file, config_);
    if (config_.stream.dim != 0 && !device.streams(config_)) config_.stream = {};
    Layout layout(file, config_);
    layout.place(weights_, layers);
    const std::size_t layers_bytes = layers.size() * sizeof(layers[0]);
    const std::size_t turns_bytes = turns.size() * sizeof(turns[0]);
    const std::size_t layers_offset = layout.reserve(layers_bytes);
    const std::size_t turns_offset = layout.reserve(turns_bytes);
    require_memory(file, device, config_, layout.bytes());

    auto* arena = static_cast<std::byte*>(device.allocate(layout.bytes()));
    allocations_.push_back(arena);
    device_bytes_ = layout.bytes();
    try {
        if (before_upload) before_upload();
        layout.patch(arena, weights_);
        device.upload(arena + layers_offset, layers.data(), layers_bytes);
        device.upload(arena + turns_offset, turns.data(), turns_bytes);
        weights_.layers = reinterpret_cast<const device::LayerWeights*>(arena + layers_offset);
        weights_.rope_turns = reinterpret_cast<const std::uint64_t*>(arena + turns_offset);
        Uploader uploader(file, device, layout.transfers(), arena, progress);
        uploader.run();
        weight_bytes_ = uploader.total_bytes();
    } catch (...) {
        device.release(arena);
        throw;
    }
}

Model::~Model() {
    for (void* memory : allocations_) device_.release(memory);
}

}  // namespace vigil::host
