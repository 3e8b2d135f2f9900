// The model's numbers from GGUF metadata, each checked before anything is computed from it.
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <optional>

#include "host/config_keys.h"
#include "host/model.h"
#include "host/rope.h"

namespace vigil::host {
namespace {

struct Architecture {
    std::string_view name;
    device::RopeKind rope_kind;
};
constexpr std::array kArchitectures = {
    Architecture{"llama", device::RopeKind::kInterleaved},
    Architecture{"qwen2", device::RopeKind::kHalves},
    Architecture{"qwen3", device::RopeKind::kHalves},
};

// Far above any real model, and low enough that products of two of them stay in range.
constexpr std::uint32_t kMaxLayers = 1024;
constexpr std::uint32_t kMaxHeads = 1024;
constexpr std::uint32_t kMaxWidth = 1u << 20;
constexpr std::uint32_t kMaxVocabulary = 1u << 24;
constexpr std::uint32_t kMaxContext = 1u << 24;

const Architecture& find_architecture(const gguf::File& file) {
    const std::string_view name = file.require_string("general.architecture");
    for (const Architecture& a : kArchitectures)
        if (a.name == name) return a;
    throw file.error(
        fmt::format("key 'general.architecture': '{}' is not supported; llama (Llama, Mistral, SmolLM2, TinyLlama), "
                    "qwen2 and qwen3 are",
                    name));
}

// Reads the numbers of one architecture, named <architecture>.<key> in the file.
class Reader {
   public:
    Reader(const gguf::File& file, std::string_view architecture)
        : file_(file), prefix_(std::string(architecture) + ".") {}

    std::string key(std::string_view name) const { return prefix_ + std::string(name); }

    [[noreturn]] void fail(std::string_view name, const std::string& what) const {
        throw file_.error(fmt::format("key '{}': {}", key(name), what));
    }

    // 1 … most. A missing key is an error without a fallback.
    std::int32_t number(std::string_view name, std::uint32_t most, std::optional<std::int32_t> fallback = {}) const {
        if (fallback && file_.find(key(name)) == nullptr) return *fallback;
        const std::int64_t value = uniform(name);
        if (value < 1 || value > most) fail(name, fmt::format("{} is out of range, 1 to {}", value, most));
        return static_cast<std::int32_t>(value);
    }

    // A key that must be absent or `wanted`.
    void refuse_unless(std::string_view name, std::uint32_t wanted, std::string_view why) const {
        const std::uint32_t value = file_.get_u32(key(name), wanted);
        if (value != wanted) fail(name, fmt::format("{}: {}", value, why));
    }

   private:
    // Some files give a number per layer; ours must be the same for all.
    std::int64_t uniform(std::string_view name) const {
        const gguf::KeyValue* found = file_.find(key(name));
        if (found == nullptr || found->type != gguf::ValueType::array) return file_.require_u32(key(name));
        const gguf::Array& values = file_.require_array(key(name));
        if (values.size() == 0) fail(name, "the array is empty");
        for (std::size_t i = 1; i < values.size(); ++i)
            if (values.integer(i) != values.integer(0))
                fail(name, fmt::format("{} in layer 0 but {} in layer {}: layers of different shape are not supported",
                                       values.integer(0), values.integer(i), i));
        return values.integer(0);
    }

    const gguf::File& file_;
    std::string prefix_;
};

void require_multiple_of_8(const Reader& r, std::string_view name, std::int32_t value) {
    if (value % 8 != 0) r.fail(name, fmt::format("{} is not a multiple of 8", value));
}

void read_attention(const gguf::File& file, const Reader& r, device::ModelConfig& c) {
    c.n_heads = r.number("attention.head_count", kMaxHeads);
    c.n_kv_heads = r.number("attention.head_count_kv", kMaxHeads, c.n_heads);
    if (c.n_heads % c.n_kv_heads != 0)
        r.fail("attention.head_count_kv", fmt::format("{} does not divide the {} heads", c.n_kv_heads, c.n_heads));

    if (file.find(r.key("attention.key_length")) == nullptr && c.dim % c.n_heads != 0)
        r.fail("attention.head_count", fmt::format("{} does not divide the embedding length {}", c.n_heads, c.dim));
    c.head_dim = r.number("attention.key_length", device::kMaxHeadDim, c.dim / c.n_heads);
    const std::int32_t value_length = r.number("attention.value_length", device::kMaxHeadDim, c.dim / c.n_heads);
    if (value_length != c.head_dim)
        r.fail("attention.value_length",
               fmt::format("{}, but keys have {}: different lengths are not supported", value_length, c.head_dim));
    if (c.head_dim % 8 != 0 || c.head_dim > device::kMaxHeadDim)
        r.fail("attention.key_length", fmt::format("a head of {} is not supported; multiples of 8 up to {} are",
                                                   c.head_dim, device::kMaxHeadDim));
    c.attention_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim)));

    c.rotary_dim = r.number("rope.dimension_count", device::kMaxHeadDim, c.head_dim);
    if (c.rotary_dim % 2 != 0 || c.rotary_dim > c.head_dim)
        r.fail("rope.dimension_count",
               fmt::format("{} is not an even number up to the head's {}", c.rotary_dim, c.head_dim));
}

void refuse_sliding_window(const gguf::File& file, const Reader& r, const device::ModelConfig& c) {
    // Attention over all positions is the same thing as long as the context fits into the window.
    const std::uint32_t window = file.get_u32(r.key("attention.sliding_window"), 0);
    if (window != 0 && window < static_cast<std::uint32_t>(c.max_seq_len))
        r.fail("attention.sliding_window",
               fmt::format("a window of {} in a context of {} is not supported; a context up to the window is (-c {})",
                           window, c.max_seq_len, window));
}

std::int32_t vocabulary_size(const gguf::File& file, std::int32_t dim) {
    const gguf::TensorInfo& embedding = file.require_tensor("token_embd.weight");
    if (embedding.dims.size() != 2 || embedding.cols() != static_cast<std::uint64_t>(dim) ||
        embedding.rows() > kMaxVocabulary)
        throw file.error(fmt::format("tensor 'token_embd.weight': shape [{}], expected [{}, up to {}]",
                                     fmt::join(embedding.dims, ", "), dim, kMaxVocabulary));
    return static_cast<std::int32_t>(embedding.rows());
}

}  // namespace

std::string supported_architecture(const gguf::File& file) {
    return std::string(find_architecture(file).name);
}

std::int32_t context_length(const gguf::File& file, const std::string& architecture) {
    return Reader(file, architecture).number("context_length", kMaxContext);
}

device::ModelConfig read_config(const gguf::File& file, std::int32_t max_seq_len) {
    const Architecture& architecture = find_architecture(file);
    const std::string name(architecture.name);
    const Reader r(file, name);
    r.refuse_unless("expert_count", 0, "mixture-of-experts models are not supported");

    device::ModelConfig c;
    c.n_layers = r.number("block_count", kMaxLayers);
    c.dim = r.number("embedding_length", kMaxWidth);
    c.ffn_dim = r.number("feed_forward_length", kMaxWidth);
    require_multiple_of_8(r, "embedding_length", c.dim);
    require_multiple_of_8(r, "feed_forward_length", c.ffn_dim);
    read_attention(file, r, c);

    const std::int32_t trained = context_length(file, name);
    if (max_seq_len < 0 || static_cast<std::uint32_t>(max_seq_len) > kMaxContext)
        throw file.error(
            fmt::format("a context of {} positions was asked for; 1 to {} work", max_seq_len, kMaxContext));
    c.max_seq_len = max_seq_len > 0 ? max_seq_len : trained;
    refuse_sliding_window(file, r, c);

    c.rope_kind = architecture.rope_kind;
    c.rope_scale = static_cast<float>(rope_magnitude(read_rope_parameters(file, name, c.rotary_dim, trained)));
    c.norm_eps = file.require_f32(r.key("attention.layer_norm_rms_epsilon"));
    if (!(c.norm_eps > 0.0f && c.norm_eps < 1.0f))
        r.fail("attention.layer_norm_rms_epsilon", fmt::format("{} is not between 0 and 1", c.norm_eps));
    c.vocab_size = vocabulary_size(file, c.dim);
    return c;
}

}  // namespace vigil::host
