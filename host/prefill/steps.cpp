#include "host/prefill/steps.h"

#include <cstddef>
#include <initializer_list>
#include <optional>

namespace vigil::host {

using device::LayerWeights;
using device::PrefillOp;
using device::PrefillStep;
using device::Tensor;

namespace {

// One matrix of the rows of all, or none if they do not lie behind one another in memory.
std::optional<Tensor> joined(std::initializer_list<Tensor> parts) {
    Tensor whole = *parts.begin();
    for (const Tensor* t = parts.begin() + 1; t != parts.end(); ++t) {
        if (t->format != whole.format || t->cols != whole.cols ||
            t->data != static_cast<const std::byte*>(whole.data) + device::matrix_bytes(whole))
            return std::nullopt;
        whole.rows += t->rows;
    }
    return whole;
}

}  // namespace

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

    // Matrices of the same input: in one product if they and their results lie so, which fills a GPU better.
    const auto multiply_all = [&](std::initializer_list<Tensor> ws, float* out, std::int32_t stride) {
        if (const std::optional<Tensor> whole = joined(ws)) return multiply(*whole, out, stride, false);
        for (const Tensor& w : ws) {
            multiply(w, out, stride, false);
            out += w.rows;
        }
    };

    const std::int32_t n_q = config.n_heads * config.head_dim;
    const std::int32_t n_kv = config.n_kv_heads * config.head_dim;
    const std::int32_t qkv_stride = n_q + 2 * n_kv;
    const std::int32_t ffn_stride = buffers.ffn_stride != 0 ? buffers.ffn_stride : config.ffn_dim;
    run(PrefillOp::kEmbed);
    for (; layer < config.n_layers; ++layer) {
        const LayerWeights& w = layers[static_cast<std::size_t>(layer)];
        const bool last = layer + 1 == config.n_layers;
        norm(w.attn_norm);
        if (last)
            multiply_all({w.wk, w.wv}, buffers.qkv + n_q, qkv_stride);
        else
            multiply_all({w.wq, w.wk, w.wv}, buffers.qkv, qkv_stride);
        run(PrefillOp::kRopeAppend).norm = w.q_norm;
        if (last) break;
        run(PrefillOp::kAttention);
        multiply(w.wo, buffers.residual, config.dim, true);
        norm(w.ffn_norm);
        if (buffers.up == buffers.gate + config.ffn_dim) {
            multiply_all({w.w_gate, w.w_up}, buffers.gate, ffn_stride);
        } else {
            multiply(w.w_gate, buffers.gate, ffn_stride, false);
            multiply(w.w_up, buffers.up, ffn_stride, false);
        }
        run(PrefillOp::kSwiglu);
        multiply(w.w_down, buffers.residual, config.dim, true);
    }
    return steps;
}

}  // namespace vigil::host
