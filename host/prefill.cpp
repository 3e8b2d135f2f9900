#include "host/prefill.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <string>
#include <utility>
#include <vector>

#include "host/prefill/steps.h"

namespace vigil::host {
namespace {

using device::LayerWeights;
using device::PrefillBuffers;
using device::PrefillChunk;
using device::PrefillOp;
using device::PrefillStep;
using device::TensorFormat;

constexpr const char* kOwnGemm = "own GEMM";
constexpr std::size_t kAlignment = 256;  // of each buffer, in bytes

std::size_t size(std::int32_t n) {
    return static_cast<std::size_t>(n);
}

// Columns of the widest GEMM input.
std::size_t input_width(const device::ModelConfig& c) {
    return size(std::max({c.dim, c.n_heads * c.head_dim, c.ffn_dim}));
}

// The number of tokens that cuBLAS is asked for instead of `n_tokens`: what is behind the last one costs little and is
// never read, and few sizes mean few of its kernels, which are loaded beforehand.
std::int32_t padded(std::int32_t n_tokens) {
    const std::int32_t step = n_tokens <= 64 ? 32 : n_tokens <= 512 ? 64 : n_tokens <= 2048 ? 128 : 256;
    return (n_tokens + step - 1) / step * step;
}

// Where in one allocation the buffers of a chunk lie, in bytes from its start.
struct Scratch {
    std::size_t bytes = 0;
    std::size_t residual, x, qkv, gate;

    // Buffers of padded(chunk) tokens; x of `input_bytes` per value.
    Scratch(const device::ModelConfig& c, std::int32_t chunk, std::size_t input_bytes) {
        const std::size_t n = size(padded(chunk));
        const auto reserve = [&](std::size_t count, std::size_t value_bytes) {
            const std::size_t at = bytes;
            bytes += (count * value_bytes + kAlignment - 1) / kAlignment * kAlignment;
            return at;
        };
        residual = reserve(n * size(c.dim), sizeof(float));
        x = reserve(n * input_width(c), input_bytes);
        qkv = reserve(n * size((c.n_heads + 2 * c.n_kv_heads) * c.head_dim), sizeof(float));
        gate = reserve(n * 2 * size(c.ffn_dim), sizeof(float));
    }
};

class ChunkedPrefill final : public Prefill {
   public:
    ChunkedPrefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options,
                   std::unique_ptr<CublasOpening> cublas);
    ~ChunkedPrefill() override;

    void run(std::span<const std::int32_t> tokens, std::int32_t first, std::int32_t kv_first) override;
    std::int32_t chunk() const override { return chunk_; }
    const char* gemm_name() const override { return gemm_name_.c_str(); }

   private:
    // Leaves none, and warns, if there is none that works.
    void open_cublas(std::unique_ptr<CublasOpening> opening);
    void close_cublas();
    // Runs every product that there can be once, so that cuBLAS loads its kernels now.
    void warm_up();
    std::vector<PrefillStep> steps_of(const PrefillBuffers& buffers, std::int32_t n_tokens) const;
    // cuBLAS takes FP16 in rows and nothing else.
    bool is_for_cublas(const device::GemmArgs& g) const {
        return cublas_ != nullptr && g.w.format == TensorFormat::kF16 && g.w.tiles.chunk_cols == 0;
    }
    // Whether this product's weights must become FP16 in rows first. Beside cuBLAS our own multiplies few tokens in
    // tiles, which takes less time than unpacking those. Without it all products are summed in one order, whatever the
    // number of tokens: ours on tensor cores takes no blocks and no tiles then. The portable ones unpack what they need
    // on the way.
    bool must_unpack(const device::GemmArgs& g) const {
        if (cublas_ != nullptr)
            return !is_for_cublas(g) && !(tensor_cores_ && device::multiplies_in_tiles(g.w, g.n_tokens));
        return tensor_cores_ && (g.w.tiles.chunk_cols != 0 || device::has_blocks(g.w.format));
    }
    // Makes room for the largest matrix that must be unpacked, if there is any.
    void reserve_unpacked();
    void multiply(const device::GemmArgs& g);
    void check(std::span<const std::int32_t> tokens, std::int32_t first, std::int32_t kv_first) const;
    void run_chunk(std::int32_t offset, std::int32_t n_tokens, std::int32_t first, std::int32_t kv_first);

    Device& device_;
    device::KernelArgs args_;
    std::int32_t chunk_;
    std::vector<LayerWeights> layers_;
    std::function<void(const PrefillStep*)> on_step_;
    std::function<void(const std::string&)> on_warning_;
    bool opens_cublas_late_ = false;
    bool tensor_cores_ = false;
    std::int32_t* tokens_ = nullptr;  // [max_seq_len], pinned: read in place, which saves a copy and a wait for it
    PrefillBuffers buffers_;
    void* memory_ = nullptr;
    void* unpacked_ = nullptr;  // room for the largest matrix that must be unpacked
    std::unique_ptr<CublasOpening> opening_;
    Cublas* cublas_ = nullptr;  // null: our own GEMM
    std::string gemm_name_ = kOwnGemm;
};

ChunkedPrefill::ChunkedPrefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options,
                               std::unique_ptr<CublasOpening> cublas)
    : device_(device),
      args_(args),
      chunk_(std::min(options.chunk, args.config.max_seq_len)),
      on_step_(options.on_step),
      on_warning_(options.on_warning) {
    const device::ModelConfig& c = args.config;
    if (options.chunk < 1) throw DeviceError(fmt::format("a prefill chunk of {} tokens; at least 1", options.chunk));

    layers_.resize(size(c.n_layers));
    device.download(layers_.data(), args.weights.layers, layers_.size() * sizeof(LayerWeights));
    tensor_cores_ = options.use_tensor_cores && device.info().is_cuda && device::cuda::has_tensor_cores();
    const Scratch scratch(c, chunk_, tensor_cores_ ? sizeof(std::uint16_t) : sizeof(float));
    memory_ = device.allocate(scratch.bytes);
    const auto at = [&](std::size_t offset) { return static_cast<std::byte*>(memory_) + offset; };
    buffers_.residual = reinterpret_cast<float*>(at(scratch.residual));
    buffers_.x = at(scratch.x);
    buffers_.qkv = reinterpret_cast<float*>(at(scratch.qkv));
    buffers_.gate = reinterpret_cast<float*>(at(scratch.gate));
    buffers_.up = buffers_.gate + c.ffn_dim;
    buffers_.ffn_stride = 2 * c.ffn_dim;
    tokens_ = static_cast<std::int32_t*>(device.allocate_pinned(size(c.max_seq_len) * sizeof(std::int32_t)));
    if (options.use_cublas && device.info().is_cuda) {
        opens_cublas_late_ = options.open_cublas_late && !cublas;
        if (!opens_cublas_late_) open_cublas(cublas ? std::move(cublas) : begin_cublas(device));
    } else {
        reserve_unpacked();
    }
}

ChunkedPrefill::~ChunkedPrefill() {
    close_cublas();
    device_.release_pinned(tokens_);
    device_.release(memory_);
}

void ChunkedPrefill::open_cublas(std::unique_ptr<CublasOpening> opening) {
    opening_ = std::move(opening);
    try {
        cublas_ = &opening_->get();
        reserve_unpacked();
        warm_up();
        gemm_name_ = fmt::format("cuBLAS {}", cublas_->version());
    } catch (const CublasError& e) {
        if (on_warning_) on_warning_(fmt::format("{}; prefill runs vigil's own GEMM, which is slower", e.what()));
        close_cublas();
        reserve_unpacked();  // our own GEMM has others
    }
}

void ChunkedPrefill::close_cublas() {
    cublas_ = nullptr;
    opening_.reset();
    device_.release(std::exchange(unpacked_, nullptr));
}

void ChunkedPrefill::reserve_unpacked() {
    std::size_t weights = 0;
    for (const PrefillStep& step : prefill_steps(args_.config, layers_, buffers_, chunk_))
        if (step.op == PrefillOp::kGemm && must_unpack(step.gemm))
            weights = std::max(weights, size(step.gemm.w.rows) * size(step.gemm.w.cols));
    if (weights > 0) unpacked_ = device_.allocate(weights * sizeof(std::uint16_t));
}

// Before each product whose weights must be unpacked there is a step that does it, into the same room for all.
std::vector<PrefillStep> ChunkedPrefill::steps_of(const PrefillBuffers& buffers, std::int32_t n_tokens) const {
    std::vector<PrefillStep> steps;
    for (PrefillStep& step : prefill_steps(args_.config, layers_, buffers, n_tokens)) {
        if (step.op == PrefillOp::kGemm && must_unpack(step.gemm)) {
            PrefillStep& unpack = steps.emplace_back(step);
            unpack.op = PrefillOp::kUnpack;
            unpack.halves = static_cast<std::uint16_t*>(unpacked_);
            step.gemm.w.data = unpacked_;
            step.gemm.w.tiles = {};
            step.gemm.w.format = TensorFormat::kF16;
        }
        steps.push_back(step);
    }
    return steps;
}

void ChunkedPrefill::warm_up() {
    std::vector<device::GemmArgs> products;
    for (const PrefillStep& step : steps_of(buffers_, chunk_)) {
        const auto same = [&](const device::GemmArgs& g) {
            return g.w.rows == step.gemm.w.rows && g.w.cols == step.gemm.w.cols && g.add == step.gemm.add;
        };
        if (step.op == PrefillOp::kGemm && is_for_cublas(step.gemm) && std::ranges::none_of(products, same))
            products.push_back(step.gemm);
    }
    // A slow GPU has better things to do; the first products wait for the library.
    constexpr std::chrono::milliseconds kEnough{50};
    for (std::int32_t n = 1; n <= chunk_; n = padded(n) + 1) {
        const auto begin = std::chrono::steady_clock::now();
        for (device::GemmArgs& g : products) {
            g.n_tokens = n;
            multiply(g);
        }
        device_.synchronize();
        if (n > 1 && std::chrono::steady_clock::now() - begin > kEnough) return;
    }
}

// Rows of `out` behind the last token are written too: the buffers have room for them.
void ChunkedPrefill::multiply(const device::GemmArgs& g) {
    cublas_->multiply(g.w.data, g.w.rows, g.w.cols, g.x, padded(g.n_tokens), g.out, g.out_stride, g.add);
}

void ChunkedPrefill::check(std::span<const std::int32_t> tokens, std::int32_t first, std::int32_t kv_first) const {
    const device::ModelConfig& c = args_.config;
    const std::int32_t rows = c.max_seq_len - kv_first;
    if (kv_first < 0 || first < 0 || first > rows || tokens.size() > size(rows - first))
        throw DeviceError(fmt::format("{} tokens from position {} do not fit into the KV cache of {} positions",
                                      tokens.size(), first, rows));
    for (std::size_t i = 0; i < tokens.size(); ++i)
        if (tokens[i] < 0 || tokens[i] >= c.vocab_size)
            throw DeviceError(fmt::format("prompt token {} is {}; the vocabulary has {}", i, tokens[i], c.vocab_size));
    if (device_.resident()) throw DeviceError("prefill needs the kernel parked");
}

void ChunkedPrefill::run(std::span<const std::int32_t> tokens, std::int32_t first, std::int32_t kv_first) {
    check(tokens, first, kv_first);
    if (tokens.empty()) return;
    if (std::exchange(opens_cublas_late_, false)) open_cublas(begin_cublas(device_));
    std::ranges::copy(tokens, tokens_);
    const auto n = static_cast<std::int32_t>(tokens.size());
    for (std::int32_t done = 0; done < n; done += chunk_)
        run_chunk(done, std::min(chunk_, n - done), first + done, kv_first);
    device_.synchronize();
}

// Enqueues only: nothing here waits for the device, on a GPU.
void ChunkedPrefill::run_chunk(std::int32_t offset, std::int32_t n_tokens, std::int32_t first, std::int32_t kv_first) {
    PrefillChunk chunk;
    chunk.model = args_;
    chunk.model.kv.k += size(kv_first) * size(args_.config.head_dim);
    chunk.model.kv.v += size(kv_first) * size(args_.config.head_dim);
    chunk.buffers = buffers_;
    chunk.buffers.tokens = tokens_ + offset;
    chunk.n_tokens = n_tokens;
    chunk.first = first;
    chunk.half_inputs = tensor_cores_ || cublas_ != nullptr;
    chunk.tensor_cores = tensor_cores_;
    const std::vector<PrefillStep> steps = steps_of(chunk.buffers, n_tokens);
    if (cublas_ == nullptr && !on_step_) {
        device_.run_prefill(chunk, steps);
        return;
    }
    for (const PrefillStep& step : steps) {
        if (on_step_) on_step_(&step);
        if (step.op == PrefillOp::kGemm && is_for_cublas(step.gemm))
            multiply(step.gemm);
        else
            device_.run_prefill(chunk, {&step, 1});
    }
    if (on_step_) on_step_(nullptr);
}

}  // namespace

std::int32_t prefill_chunk(const Device& device, const device::ModelConfig& config) {
    constexpr std::int32_t kLeast = 512;
    constexpr std::int32_t kMost = 4096;
    if (!device.info().is_cuda || !device::cuda::has_tensor_cores()) return kLeast;
    std::int32_t chunk = kMost;
    while (chunk > kLeast && Scratch(config, chunk, sizeof(float)).bytes > device.info().free_bytes / 8) chunk /= 2;
    return chunk;
}

std::unique_ptr<CublasOpening> begin_cublas(Device& device) {
    return device.info().is_cuda ? std::make_unique<CublasOpening>(device) : nullptr;
}

std::unique_ptr<Prefill> make_prefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options,
                                      std::unique_ptr<CublasOpening> cublas) {
    return std::make_unique<ChunkedPrefill>(device, args, options, std::move(cublas));
}

std::unique_ptr<Prefill> make_prefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options) {
    return make_prefill(device, args, options, nullptr);
}

}  // namespace vigil::host
