#include "tests/reference/oracle.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "host/gguf/dequantize.h"
#include "tests/reference/rope_reference.h"

namespace vigil::reference {
namespace {

// a · b. Four sums side by side, since one chain of additions would wait for itself at every step.
double dot(const float* a, const double* b, int n) {
    double sums[4] = {};
    int i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; ++j) sums[j] += static_cast<double>(a[i + j]) * b[i + j];
    for (; i < n; ++i) sums[0] += static_cast<double>(a[i]) * b[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

double silu(double x) {
    return x / (1.0 + std::exp(-x));
}

void add(Vector& to, const Vector& what) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += what[i];
}

}  // namespace

Oracle::Oracle(const gguf::File& file, OracleOptions options) : options_(options) {
    const std::string arch{file.require_string("general.architecture")};
    const auto number = [&](const std::string& name) { return static_cast<int>(file.require_u32(arch + "." + name)); };
    const auto number_or = [&](const std::string& name, int fallback) {
        return static_cast<int>(file.get_u32(arch + "." + name, static_cast<std::uint32_t>(fallback)));
    };
    shape_.n_layers = number("block_count");
    shape_.dim = number("embedding_length");
    shape_.ffn_dim = number("feed_forward_length");
    shape_.n_heads = number("attention.head_count");
    shape_.n_kv_heads = number_or("attention.head_count_kv", shape_.n_heads);
    shape_.head_dim = number_or("attention.key_length", shape_.dim / shape_.n_heads);
    shape_.rotary_dim = number_or("rope.dimension_count", shape_.head_dim);
    shape_.vocab_size = static_cast<int>(file.require_tensor("token_embd.weight").rows());
    shape_.norm_eps = file.require_f32(arch + ".attention.layer_norm_rms_epsilon");
    shape_.halves = arch != "llama";

    Rope rope = read_rope(file, arch, shape_.rotary_dim);
    rope_frequencies_ = std::move(rope.frequencies);
    rope_magnitude_ = rope.magnitude;

    const int q_rows = shape_.n_heads * shape_.head_dim;
    const int kv_rows = shape_.n_kv_heads * shape_.head_dim;
    embedding_ = load(file, "token_embd.weight", shape_.dim, shape_.vocab_size);
    output_norm_ = load(file, "output_norm.weight", shape_.dim, 1);
    output_ = load(file, "output.weight", shape_.dim, shape_.vocab_size, false);
    for (int i = 0; i < shape_.n_layers; ++i) {
        const auto name = [&](const char* part) { return "blk." + std::to_string(i) + "." + part; };
        Layer& layer = layers_.emplace_back();
        layer.attn_norm = load(file, name("attn_norm.weight"), shape_.dim, 1);
        layer.wq = load(file, name("attn_q.weight"), shape_.dim, q_rows);
        layer.wk = load(file, name("attn_k.weight"), shape_.dim, kv_rows);
        layer.wv = load(file, name("attn_v.weight"), shape_.dim, kv_rows);
        layer.bq = load(file, name("attn_q.bias"), q_rows, 1, arch == "qwen2");
        layer.bk = load(file, name("attn_k.bias"), kv_rows, 1, arch == "qwen2");
        layer.bv = load(file, name("attn_v.bias"), kv_rows, 1, arch == "qwen2");
        layer.q_norm = load(file, name("attn_q_norm.weight"), shape_.head_dim, 1, arch == "qwen3");
        layer.k_norm = load(file, name("attn_k_norm.weight"), shape_.head_dim, 1, arch == "qwen3");
        layer.wo = load(file, name("attn_output.weight"), q_rows, shape_.dim);
        layer.ffn_norm = load(file, name("ffn_norm.weight"), shape_.dim, 1);
        layer.w_gate = load(file, name("ffn_gate.weight"), shape_.dim, shape_.ffn_dim);
        layer.w_up = load(file, name("ffn_up.weight"), shape_.dim, shape_.ffn_dim);
        layer.w_down = load(file, name("ffn_down.weight"), shape_.ffn_dim, shape_.dim);
    }
}

Oracle::Matrix Oracle::load(const gguf::File& file, const std::string& name, int cols, int rows, bool required) const {
    const gguf::TensorInfo* tensor = required ? &file.require_tensor(name) : file.find_tensor(name);
    if (tensor == nullptr) return {};
    if (tensor->cols() != static_cast<std::uint64_t>(cols) || tensor->rows() != static_cast<std::uint64_t>(rows))
        throw file.error("tensor '" + name + "': not of the shape the oracle expects");
    Matrix matrix{rows, cols, std::vector<float>(static_cast<std::size_t>(cols) * rows)};
    gguf::dequantize(tensor->type, tensor->data, matrix.values);
    return matrix;
}

Vector Oracle::multiply(const Matrix& w, const Vector& x) {
    Vector y(static_cast<std::size_t>(w.rows));
    for (int r = 0; r < w.rows; ++r)
        y[r] = dot(w.values.data() + static_cast<std::size_t>(r) * w.cols, x.data(), w.cols);
    return y;
}

// x / sqrt(mean(x²) + eps) * weight
Vector Oracle::norm(const double* x, int n, const Matrix& weight) const {
    double squares = 0.0;
    for (int i = 0; i < n; ++i) squares += x[i] * x[i];
    const double scale = 1.0 / std::sqrt(squares / n + shape_.norm_eps);
    Vector y(static_cast<std::size_t>(n));
    for (int i = 0; i < n; ++i) y[i] = x[i] * scale * static_cast<double>(weight.values[i]);
    return y;
}

void Oracle::norm_heads(Vector& heads, const Matrix& weight) const {
    if (weight.empty()) return;
    for (std::size_t at = 0; at < heads.size(); at += shape_.head_dim) {
        const Vector normed = norm(&heads[at], shape_.head_dim, weight);
        std::copy(normed.begin(), normed.end(), heads.begin() + static_cast<std::ptrdiff_t>(at));
    }
}

// Turns every pair of every head by position * frequency.
void Oracle::rotate(Vector& heads) const {
    const int pairs = shape_.rotary_dim / 2;
    for (std::size_t head = 0; head < heads.size(); head += shape_.head_dim) {
        for (int i = 0; i < pairs; ++i) {
            const double angle = position_ * rope_frequencies_[i];
            const double sine = std::sin(angle) * rope_magnitude_;
            const double cosine = std::cos(angle) * rope_magnitude_;
            double& x = heads[head + (shape_.halves ? i : 2 * i)];
            double& y = heads[head + (shape_.halves ? i + pairs : 2 * i + 1)];
            const double turned_x = x * cosine - y * sine;
            y = x * sine + y * cosine;
            x = turned_x;
        }
    }
}

double Oracle::as_cached(double value) const {
    if (!options_.half_kv) return value;
    return gguf::half_to_float(gguf::float_to_half(static_cast<float>(value)));
}

// q, k and v of this position, from the layer's normed input.
void Oracle::project(const Layer& layer, LayerTrace& trace) const {
    trace.q = multiply(layer.wq, trace.attn_input);
    trace.k = multiply(layer.wk, trace.attn_input);
    trace.v = multiply(layer.wv, trace.attn_input);
    for (auto [vector, bias] : {std::pair{&trace.q, &layer.bq}, {&trace.k, &layer.bk}, {&trace.v, &layer.bv}}) {
        if (!bias->empty()) add(*vector, Vector(bias->values.begin(), bias->values.end()));
        trace.qkv.insert(trace.qkv.end(), vector->begin(), vector->end());
    }
    norm_heads(trace.q, layer.q_norm);
    norm_heads(trace.k, layer.k_norm);
    rotate(trace.q);
    rotate(trace.k);
    for (double& value : trace.k) value = as_cached(value);
    for (double& value : trace.v) value = as_cached(value);
}

// softmax(q·K^T / sqrt(head_dim)) · V for every head, over all positions in the cache.
Vector Oracle::attend(const Layer& layer, const Vector& q) const {
    const int d = shape_.head_dim;
    const int heads_per_kv = shape_.n_heads / shape_.n_kv_heads;
    Vector out(q.size(), 0.0);
    Vector weights(layer.keys.size());
    for (int h = 0; h < shape_.n_heads; ++h) {
        const int kv_at = h / heads_per_kv * d;
        for (std::size_t t = 0; t < weights.size(); ++t) {
            double score = 0.0;
            for (int i = 0; i < d; ++i) score += q[h * d + i] * layer.keys[t][kv_at + i];
            weights[t] = score / std::sqrt(static_cast<double>(d));
        }
        const double top = *std::max_element(weights.begin(), weights.end());
        double sum = 0.0;
        for (double& weight : weights) sum += weight = std::exp(weight - top);
        for (std::size_t t = 0; t < weights.size(); ++t)
            for (int i = 0; i < d; ++i) out[h * d + i] += weights[t] / sum * layer.values[t][kv_at + i];
    }
    return out;
}

const TokenTrace& Oracle::forward(int token, bool want_logits) {
    if (token < 0 || token >= shape_.vocab_size)
        throw std::out_of_range("the oracle was given a token id out of range");
    trace_ = {};
    const float* row = embedding_.values.data() + static_cast<std::size_t>(token) * shape_.dim;
    Vector residual(row, row + shape_.dim);
    trace_.embedding = residual;
    for (Layer& layer : layers_) {
        LayerTrace& trace = trace_.layers.emplace_back();
        trace.attn_input = norm(residual.data(), shape_.dim, layer.attn_norm);
        project(layer, trace);
        layer.keys.push_back(trace.k);
        layer.values.push_back(trace.v);
        trace.heads = attend(layer, trace.q);
        add(residual, multiply(layer.wo, trace.heads));
        trace.after_attention = residual;

        trace.ffn_input = norm(residual.data(), shape_.dim, layer.ffn_norm);
        trace.hidden = multiply(layer.w_gate, trace.ffn_input);
        const Vector up = multiply(layer.w_up, trace.ffn_input);
        for (std::size_t i = 0; i < up.size(); ++i) trace.hidden[i] = silu(trace.hidden[i]) * up[i];
        add(residual, multiply(layer.w_down, trace.hidden));
        trace.after_ffn = residual;
    }
    trace_.final_norm = norm(residual.data(), shape_.dim, output_norm_);
    if (want_logits) trace_.logits = multiply(output_.empty() ? embedding_ : output_, trace_.final_norm);
    ++position_;
    return trace_;
}

void Oracle::reset() {
    position_ = 0;
    for (Layer& layer : layers_) {
        layer.keys.clear();
        layer.values.clear();
    }
}

void Oracle::set_cache(std::span<const std::uint16_t> keys, std::span<const std::uint16_t> values, int stride, int n) {
    const std::size_t d = shape_.head_dim;
    if (keys.size() != values.size() || n > stride || keys.size() != d * shape_.n_layers * shape_.n_kv_heads * stride)
        throw std::invalid_argument("the oracle was given a KV cache of the wrong size");
    reset();
    for (int l = 0; l < shape_.n_layers; ++l) {
        for (auto [from, to] : {std::pair{keys, &layers_[l].keys}, {values, &layers_[l].values}}) {
            to->assign(static_cast<std::size_t>(n), Vector(d * shape_.n_kv_heads));
            for (int h = 0; h < shape_.n_kv_heads; ++h) {
                const std::size_t start = (static_cast<std::size_t>(l) * shape_.n_kv_heads + h) * stride * d;
                for (std::size_t t = 0; t < to->size(); ++t)
                    for (std::size_t i = 0; i < d; ++i)
                        (*to)[t][h * d + i] = gguf::half_to_float(from[start + t * d + i]);
            }
        }
    }
    position_ = n;
}

int argmax(std::span<const double> logits) {
    return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

double log_softmax(std::span<const double> logits, int index) {
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0.0;
    for (const double logit : logits) sum += std::exp(logit - top);
    return logits[static_cast<std::size_t>(index)] - top - std::log(sum);
}

std::vector<int> generate_greedy(Oracle& oracle, std::span<const int> prompt, int n) {
    oracle.reset();
    std::vector<int> generated;
    for (std::size_t i = 0; i + 1 < prompt.size(); ++i) oracle.forward(prompt[i], false);
    int token = prompt.back();
    while (static_cast<int>(generated.size()) < n) generated.push_back(token = argmax(oracle.forward(token).logits));
    return generated;
}

double mean_nll(Oracle& oracle, std::span<const int> tokens) {
    oracle.reset();
    double sum = 0.0;
    for (std::size_t i = 0; i + 1 < tokens.size(); ++i)
        sum -= log_softmax(oracle.forward(tokens[i]).logits, tokens[i + 1]);
    return sum / static_cast<double>(tokens.size() - 1);
}

}  // namespace vigil::reference
