// Every phase against the oracle over tensor types, architectures and kinds of RoPE.
#include <doctest/doctest.h>

#include "tests/phases/phase_check.h"
#include "tests/phases/test_model.h"

using namespace vigil;
using namespace vigil::phases;

TEST_CASE("[full] phases agree with the oracle for every tensor type and architecture") {
    Deviations worst;
    for (const char* type : {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K",
                             "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4", "Q4_K_M", "Q5_K_M"}) {
        for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
            CAPTURE(type);
            CAPTURE(architecture);
            auto spec = small_spec(architecture);
            spec.type = type;
            const Deviations d = compare_two_tokens(TestModel(spec).file(), {.context = 9});
            check_limits(d);
            worst.merge(d);
        }
    }
    report("tensor types and architectures", worst);
}

TEST_CASE("phases agree with the oracle when no two matrices of a layer have the same format") {
    using enum gguf::TensorType;
    Deviations worst;
    for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
        CAPTURE(architecture);
        auto spec = small_spec(architecture);
        spec.tied = false;
        const TestModel model(spec, {.types = {{"token_embd.weight", Q6_K},
                                               {"output.weight", Q5_1},
                                               {"blk.0.attn_q.weight", Q4_K},
                                               {"blk.0.attn_k.weight", F16},
                                               {"blk.0.attn_v.weight", Q8_0},
                                               {"blk.0.attn_output.weight", Q5_0},
                                               {"blk.0.ffn_gate.weight", Q4_0},
                                               {"blk.0.ffn_up.weight", BF16},
                                               {"blk.0.ffn_down.weight", Q4_1},
                                               {"blk.1.attn_q.weight", F32},
                                               {"blk.1.attn_k.weight", BF16},
                                               {"blk.1.attn_v.weight", Q6_K},
                                               {"blk.1.attn_output.weight", F32},
                                               {"blk.1.ffn_gate.weight", F32},
                                               {"blk.1.ffn_up.weight", F16},
                                               {"blk.1.ffn_down.weight", Q5_K}}});
        const Deviations d = compare_two_tokens(model.file(), {.context = 40});
        check_limits(d);
        worst.merge(d);
    }
    report("a format for every matrix", worst);
}

TEST_CASE("phases agree with the oracle when the output matrix is not the embedding") {
    auto spec = small_spec();
    spec.tied = false;
    spec.vocab_size = 600;  // no multiple of a tile
    const Deviations d = compare_two_tokens(TestModel(spec).file(), {});
    check_limits(d);
    report("untied output", d);
}

TEST_CASE("[full] RoPE agrees with the oracle for every scaling, below and above the original context") {
    Deviations worst;
    using synth::RopeScaling;
    for (const auto scaling : {RopeScaling::none, RopeScaling::linear, RopeScaling::llama3, RopeScaling::yarn}) {
        for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
            if (scaling == RopeScaling::llama3 && std::string(architecture) != "llama") continue;
            for (const int context : {5, 1500}) {
                CAPTURE(static_cast<int>(scaling));
                CAPTURE(architecture);
                CAPTURE(context);
                auto spec = small_spec(architecture);
                spec.rope_scaling = scaling;
                spec.rope_factor = 4.0f;
                spec.rope_original_context = 512;
                spec.rope_theta = 500000.0f;
                const Deviations d = compare_two_tokens(TestModel(spec).file(), {.context = context});
                check_limits(d);
                worst.merge(d);
            }
        }
    }
    report("RoPE scalings", worst);
}

TEST_CASE("RoPE turns only the leading part of a head where the model says so") {
    Deviations worst;
    for (const char* architecture : {"llama", "qwen2"}) {
        CAPTURE(architecture);
        const TestModel model(small_spec(architecture),
                              {.keys = {{std::string(architecture) + ".rope.dimension_count", 32}}});
        const Deviations d = compare_two_tokens(model.file(), {.context = 77});
        check_limits(d);
        worst.merge(d);
    }
    report("partial RoPE", worst);
}

TEST_CASE("phases agree with the oracle for every architecture") {
    Deviations worst;
    for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
        CAPTURE(architecture);
        auto spec = small_spec(architecture);
        spec.type = "BF16";
        const Deviations d = compare_two_tokens(TestModel(spec).file(), {.context = 40});
        check_limits(d);
        worst.merge(d);
    }
    report("architectures", worst);
}
