// A small llama model as a GGUF file, of which a test changes what it is about.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "host/gguf/gguf.h"
#include "host/gguf/writer.h"
#include "tests/gguf/temporary_folder.h"

namespace vigil::test {

struct TensorData {
    std::vector<std::uint64_t> dims;  // columns first
    std::vector<float> values{};      // zeroes if empty
};

using KeyData = std::variant<std::uint32_t, float, bool, std::string, std::vector<std::int32_t>>;

struct ModelFile {
    std::string architecture = "llama";
    std::map<std::string, KeyData> keys = {
        // without the architecture's prefix
        {"block_count", 1u},
        {"context_length", 32u},
        {"embedding_length", 16u},
        {"feed_forward_length", 24u},
        {"attention.head_count", 2u},
        {"attention.head_count_kv", 1u},
        {"attention.layer_norm_rms_epsilon", 1e-5f},
    };
    std::map<std::string, TensorData> tensors = {
        {"token_embd.weight", {{16, 10}}},        {"output_norm.weight", {{16}}},
        {"blk.0.attn_norm.weight", {{16}}},       {"blk.0.attn_q.weight", {{16, 16}}},
        {"blk.0.attn_k.weight", {{16, 8}}},       {"blk.0.attn_v.weight", {{16, 8}}},
        {"blk.0.attn_output.weight", {{16, 16}}}, {"blk.0.ffn_norm.weight", {{16}}},
        {"blk.0.ffn_gate.weight", {{16, 24}}},    {"blk.0.ffn_up.weight", {{16, 24}}},
        {"blk.0.ffn_down.weight", {{24, 16}}},
    };

    void write(const std::filesystem::path& path) const {
        gguf::Writer writer(path);
        writer.set_string("general.architecture", architecture);
        for (const auto& [name, value] : keys) write_key(writer, architecture + "." + name, value);
        for (const auto& [name, tensor] : tensors) writer.add_tensor(name, gguf::TensorType::F32, tensor.dims);
        writer.begin_data();
        std::size_t id = 0;
        for (const auto& [name, tensor] : tensors) {
            std::vector<float> values = tensor.values;
            values.resize(writer.tensor_bytes(id) / sizeof(float));
            writer.write(id++, 0, std::as_bytes(std::span(values)));
        }
        writer.finish();
    }

    // Written to a temporary file that is mapped and then unlinked.
    gguf::File open() const {
        const TemporaryFolder folder;
        const std::filesystem::path path = folder.path() / "model.gguf";
        write(path);
        return gguf::File::open(path);
    }

   private:
    static void write_key(gguf::Writer& writer, const std::string& key, const KeyData& value) {
        if (const auto* u = std::get_if<std::uint32_t>(&value)) writer.set_u32(key, *u);
        if (const auto* f = std::get_if<float>(&value)) writer.set_f32(key, *f);
        if (const auto* b = std::get_if<bool>(&value)) writer.set_bool(key, *b);
        if (const auto* s = std::get_if<std::string>(&value)) writer.set_string(key, *s);
        if (const auto* a = std::get_if<std::vector<std::int32_t>>(&value)) writer.set_i32s(key, *a);
    }
};

// The text of the exception of type E that `action` throws; fails the test if it throws none.
template <class E, class Action>
std::string message_of(Action&& action) {
    try {
        action();
    } catch (const E& e) {
        return e.what();
    }
    FAIL("nothing was thrown");
    return {};
}

}  // namespace vigil::test
