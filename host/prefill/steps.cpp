#include "host/prefill/steps.h"

namespace vigil::host {

using device::LayerWeights;
using device::PrefillOp;
using device::PrefillStep;
using device::Tensor;

std::vector<PrefillStep> prefill_steps(const device::ModelConfig& config, std::span<const LayerWeights> layers,
                                       const device::PrefillBuffers& buffers, std::int32_t n_tokens) {
    std::vector<PrefillStep> steps;
    std::int32_t layer = 0;
    const auto run = [&](PrefillOp op) -> PrefillStep& {
        PrefillStep& step = steps.emplace_back();
        step.op = op;
        step.layer = layer;
        return step;
    };
    const auto norm = [&](const float* weight) { run(PrefillOp::kNorm).norm = weight; };
    // out (+)= x · wᵀ
    const auto multiply = [&](const Tensor& w, float* out, std::int32_t stride, bool add) {
        run(PrefillOp::kGemm).gemm = {
            .w = w, .x = buffers.x, .out = out, .out_stride = stride, .n_tokens = n_tokens, .add = add};
    };

    const std::int32_t n_q = config.n_heads * config.head_dim;
    const std::int32_t n_kv = config.n_kv_heads * config.head_dim;
    const std::int32_t qkv_stride = n_q + 2 * n_kv;
    run(PrefillOp::kEmbed);
    for (; layer < config.n_layers; ++layer) {
        const LayerWeights& w = layers[static_cast<std::size_t>(layer)];
        const bool last = layer + 1 == config.n_layers;
        norm(w.attn_norm);
        if (!last) multiply(w.wq, buffers.qkv, qkv_stride, false);
        multiply(w.wk, buffers.qkv + n_q, qkv_stride, false);
        multiply(w.wv, buffers.qkv + n_q + n_kv, qkv_stride, false);
        run(PrefillOp::kRopeAppend);
        if (last) break;
        run(PrefillOp::kAttention);
        multiply(w.wo, buffers.residual, config.dim, true);
        norm(w.ffn_norm);
        multiply(w.w_gate, buffers.gate, config.ffn_dim, false);
        multiply(w.w_up, buffers.up, config.ffn_dim, false);
        run(PrefillOp::kSwiglu);
        multiply(w.w_down, buffers.residual, config.dim, true);
    }
    return steps;
}

}  // namespace vigil::host
