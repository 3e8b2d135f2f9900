// The oracle: an independent implementation of the forward pass of llama, qwen2 and qwen3 models. Plain loops over one
// token at a time, double accumulation, nothing shared with device/ but the GGUF reader and plain structs.
//
// Equations: Llama 2 (arXiv 2307.09288, section 2), Qwen2 (arXiv 2407.10671: bias on q, k, v), Qwen3 (arXiv
// 2505.09388: RMSNorm of each head of q and k). RoPE and its scalings: rope_reference.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "host/gguf/gguf.h"

namespace vigil::reference {

using Vector = std::vector<double>;

struct OracleOptions {
    // Round keys and values to FP16, as the KV cache does.
    bool half_kv = false;
};

// What the phases of one layer left for the last token.
struct LayerTrace {
    Vector attn_input;       // [dim] normed residual that the QKV projection reads
    Vector qkv;              // [(n_heads + 2 * n_kv_heads) * head_dim] with bias, before QK-norm and RoPE
    Vector q;                // [n_heads * head_dim] after QK-norm and RoPE
    Vector k;                // [n_kv_heads * head_dim] after QK-norm and RoPE, as it is in the cache
    Vector v;                // [n_kv_heads * head_dim] as it is in the cache
    Vector heads;            // [n_heads * head_dim] attention's output
    Vector after_attention;  // [dim] residual
    Vector ffn_input;        // [dim] normed residual
    Vector hidden;           // [ffn_dim] silu(gate) * up
    Vector after_ffn;        // [dim] residual
};

struct TokenTrace {
    Vector embedding;  // [dim]
    std::vector<LayerTrace> layers;
    Vector final_norm;  // [dim]
    Vector logits;      // [vocab_size]; empty if they were not asked for
};

// The numbers of a model; names as in device::ModelConfig.
struct Shape {
    int n_layers = 0;
    int dim = 0;
    int ffn_dim = 0;
    int n_heads = 0;
    int n_kv_heads = 0;
    int head_dim = 0;
    int rotary_dim = 0;
    int vocab_size = 0;
    double norm_eps = 0.0;
    bool halves = false;  // RoPE turns (x[i], x[i + rotary_dim/2]) and not (x[2i], x[2i+1])
};

class Oracle {
   public:
    // Reads and unpacks the whole model. `file` is not used afterwards. Throws gguf::Error.
    explicit Oracle(const gguf::File& file, OracleOptions options = {});

    const Shape& shape() const noexcept { return shape_; }
    // Tokens in the KV cache: the position of the next one.
    int position() const noexcept { return position_; }

    // Appends one token. The result is valid until the next call.
    const TokenTrace& forward(int token, bool want_logits = true);

    // An empty context again.
    void reset();
    // Makes the context `n` tokens long: `keys` and `values` are the FP16 cache,
    // [n_layers][n_kv_heads][stride][head_dim] of which the first n of each stride are read. For long contexts without
    // running the tokens in them.
    void set_cache(std::span<const std::uint16_t> keys, std::span<const std::uint16_t> values, int stride, int n);

   private:
    struct Matrix {
        int rows = 0;
        int cols = 0;
        std::vector<float> values;
        bool empty() const noexcept { return values.empty(); }
    };
    struct Layer {
        Matrix attn_norm, wq, wk, wv, bq, bk, bv, q_norm, k_norm, wo, ffn_norm, w_gate, w_up, w_down;
        std::vector<Vector> keys, values;  // per position [n_kv_heads * head_dim]
    };

    Matrix load(const gguf::File& file, const std::string& name, int cols, int rows, bool required = true) const;
    static Vector multiply(const Matrix& w, const Vector& x);
    Vector norm(const double* x, int n, const Matrix& weight) const;
    void norm_heads(Vector& heads, const Matrix& weight) const;
    void rotate(Vector& heads) const;
    void project(const Layer& layer, LayerTrace& trace) const;
    Vector attend(const Layer& layer, const Vector& q) const;
    double as_cached(double value) const;

    OracleOptions options_;
    Shape shape_;
    Matrix embedding_, output_norm_, output_;
    std::vector<Layer> layers_;
    Vector rope_frequencies_;  // [rotary_dim / 2] radians per position
    double rope_magnitude_ = 1.0;
    int position_ = 0;
    TokenTrace trace_;
};

// The `n` most likely tokens in turn after `prompt`, on a fresh context.
std::vector<int> generate_greedy(Oracle& oracle, std::span<const int> prompt, int n);

// Mean negative log-likelihood of tokens[1…] given those before each, on a fresh context.
double mean_nll(Oracle& oracle, std::span<const int> tokens);

// log softmax(logits)[index].
double log_softmax(std::span<const double> logits, int index);

int argmax(std::span<const double> logits);

}  // namespace vigil::reference
