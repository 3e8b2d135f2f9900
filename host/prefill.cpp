#include "host/prefill.h"

#include <algorithm>
#include <fmt/format.h>
#include <string>
#include <vector>

#include "host/cuda/cublas.h"
#include "host/prefill/steps.h"

namespace vigil::host {
namespace {

using device::LayerWeights;
using device::PrefillBuffers;
using device::PrefillChunk;
using device::PrefillOp;
using device::PrefillStep;
using device::Tensor;
using device::TensorFormat;

constexpr const char* kOwnGemm = "own GEMM";
constexpr std::size_t kAlignment = 256;  // of each buffer, in bytes

std::size_t size(std::int32_t n) {
    return static_cast<std::size_t>(n);
}

// Floats per token of the widest GEMM input.
std::size_t input_width(const device::ModelConfig& c) {
    return size(std::max({c.dim, c.n_heads * c.head_dim, c.ffn_dim}));
}

// cuBLAS multiplies FP16 by FP16; activations rounded to BF16's eight bits would lose too much.
bool all_half(const std::vector<LayerWeights>& layers) {
    return std::ranges::all_of(layers, [](const LayerWeights& l) {
        const auto matrices = {&l.wq, &l.wk, &l.wv, &l.wo, &l.w_gate, &l.w_up, &l.w_down};
        return std::ranges::all_of(matrices, [](const Tensor* t) { return t->format == TensorFormat::kF16; });
    });
}

class ChunkedPrefill final : public Prefill {
   public:
    ChunkedPrefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options);
    ~ChunkedPrefill() override;

    void run(std::span<const std::int32_t> tokens, std::int32_t first, std::int32_t kv_first) override;
    const char* gemm_name() const override { return gemm_name_.c_str(); }

   private:
    void open_cublas(const std::function<void(const std::string&)>& on_warning);
    void check(std::span<const std::int32_t> tokens, std::int32_t first, std::int32_t kv_first) const;
    void run_chunk(std::int32_t offset, std::int32_t n_tokens, std::int32_t first, std::int32_t kv_first);

    Device& device_;
    device::KernelArgs args_;
    std::int32_t chunk_;
    std::vector<LayerWeights> layers_;
    std::int32_t* tokens_ = nullptr;  // [max_seq_len]
    PrefillBuffers buffers_;
    void* memory_ = nullptr;
    void* cublas_workspace_ = nullptr;
    std::unique_ptr<Cublas> cublas_;
    std::string gemm_name_ = kOwnGemm;
};

ChunkedPrefill::ChunkedPrefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options)
    : device_(device), args_(args), chunk_(std::min(options.chunk, args.config.max_seq_len)) {
    const device::ModelConfig& c = args.config;
    if (options.chunk < 1) throw DeviceError(fmt::format("a prefill chunk of {} tokens; at least 1", options.chunk));

    std::size_t bytes = 0;
    const auto reserve = [&](std::size_t count) {
        const std::size_t at = bytes;
        bytes += (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
        return at;
    };
    const std::size_t tokens = reserve(size(c.max_seq_len));
    const std::size_t residual = reserve(size(chunk_) * size(c.dim));
    const std::size_t x = reserve(size(chunk_) * input_width(c));
    const std::size_t qkv = reserve(size(chunk_) * size((c.n_heads + 2 * c.n_kv_heads) * c.head_dim));
    const std::size_t gate = reserve(size(chunk_) * size(c.ffn_dim));
    const std::size_t up = reserve(size(chunk_) * size(c.ffn_dim));
    memory_ = device.allocate(bytes);
    const auto at = [&](std::size_t offset) { return static_cast<std::byte*>(memory_) + offset; };
    tokens_ = reinterpret_cast<std::int32_t*>(at(tokens));
    buffers_.residual = reinterpret_cast<float*>(at(residual));
    buffers_.x = at(x);
    buffers_.qkv = reinterpret_cast<float*>(at(qkv));
    buffers_.gate = reinterpret_cast<float*>(at(gate));
    buffers_.up = reinterpret_cast<float*>(at(up));

    layers_.resize(size(c.n_layers));
    device.download(layers_.data(), args.weights.layers, layers_.size() * sizeof(LayerWeights));
    if (options.use_cublas && device.info().is_cuda) open_cublas(options.on_warning);
}

ChunkedPrefill::~ChunkedPrefill() {
    cublas_.reset();
    if (cublas_workspace_ != nullptr) device_.release(cublas_workspace_);
    device_.release(memory_);
}

void ChunkedPrefill::open_cublas(const std::function<void(const std::string&)>& on_warning) {
    if (!all_half(layers_)) {
        gemm_name_ = fmt::format("{} (cuBLAS takes only models whose layers are FP16 throughout)", kOwnGemm);
        return;
    }
    cublas_workspace_ = device_.allocate(Cublas::kWorkspaceBytes);
    try {
        cublas_ = std::make_unique<Cublas>(Cublas::candidates(VIGIL_CUBLAS_MAJOR), device_.launch_stream(),
                                           cublas_workspace_, Cublas::kWorkspaceBytes);
        gemm_name_ = fmt::format("cuBLAS {}", cublas_->version());
    } catch (const CublasError& e) {
        if (on_warning) on_warning(fmt::format("{}; prefill runs vigil's own GEMM, which is slower", e.what()));
        device_.release(cublas_workspace_);
        cublas_workspace_ = nullptr;
    }
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
    device_.upload(tokens_, tokens.data(), tokens.size_bytes());
    device_.flush_uploads();
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
    chunk.half_inputs = cublas_ != nullptr;
    const std::vector<PrefillStep> steps = prefill_steps(args_.config, layers_, chunk.buffers, n_tokens);
    if (cublas_ == nullptr) {
        device_.run_prefill(chunk, steps);
        return;
    }
    for (const PrefillStep& step : steps) {
        const device::GemmArgs& g = step.gemm;
        if (step.op == PrefillOp::kGemm)
            cublas_->multiply(g.w.data, g.w.rows, g.w.cols, g.x, g.n_tokens, g.out, g.out_stride, g.add);
        else
            device_.run_prefill(chunk, {&step, 1});
    }
}

}  // namespace

std::unique_ptr<Prefill> make_prefill(Device& device, const device::KernelArgs& args, const PrefillOptions& options) {
    return std::make_unique<ChunkedPrefill>(device, args, options);
}

}  // namespace vigil::host
