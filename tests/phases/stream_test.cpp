// The Hopper path's phases against the oracle, for every format that it keeps in tiles. On the emulator, or on a GPU
// that has the path.
#include <doctest/doctest.h>

#include "tests/phases/phase_check.h"
#include "tests/phases/test_model.h"

using namespace vigil;
using namespace vigil::phases;

namespace {

constexpr const char* kTypes[] = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"};

Deviations check(const synth::ModelSpec& spec, int context, int n_blocks = 0) {
    CAPTURE(spec.type);
    CAPTURE(spec.architecture);
    Deviations d = compare_two_tokens(TestModel(spec).file(), {.context = context, .n_blocks = n_blocks});
    check_limits(d);
    return d;
}

}  // namespace

TEST_CASE("the stream's phases agree with the oracle for every format and architecture") {
    Deviations worst;
    for (const char* type : kTypes) {
        for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
            auto spec = small_spec(architecture);
            spec.type = type;
            worst.merge(check(spec, 9));
        }
    }
    report("formats and architectures", worst);
}

TEST_CASE("the stream's phases agree with the oracle for mixtures of formats") {
    Deviations worst;
    for (const char* type : {"Q4_K_M", "Q5_K_M"}) {
        auto spec = small_spec();
        spec.type = type;
        spec.tied = false;
        worst.merge(check(spec, 40));
    }
    report("mixtures", worst);
}

TEST_CASE("the stream's phases agree with the oracle where widths are odd numbers of slabs") {
    Deviations worst;
    for (const char* type : {"F16", "Q8_0", "Q4_1", "Q5_0"}) {
        auto spec = small_spec();
        spec.type = type;
        spec.dim = 192;
        spec.n_heads = 3;
        spec.n_kv_heads = 1;
        spec.ffn_dim = 448;
        spec.vocab_size = 600;  // the last tile is not full
        worst.merge(check(spec, 70));
    }
    report("odd widths", worst);
}

TEST_CASE("the stream's phases agree with the oracle where a block has many tiles, or none") {
    Deviations worst;
    auto spec = small_spec();
    spec.ffn_dim = 1024;  // 64 tiles of gate and of up: several runs
    spec.vocab_size = 2048;
    worst.merge(check(spec, 20, 1));
    spec.dim = spec.n_heads * spec.head_dim;
    spec.ffn_dim = 64;
    worst.merge(check(spec, 20));
    report("many tiles, or none", worst);
}

TEST_CASE("the stream's phases agree with the oracle where a row is 256 chunks") {
    auto spec = small_spec();
    spec.type = "F32";
    spec.ffn_dim = 16384;
    spec.n_layers = 1;
    Deviations worst;
    worst.merge(check(spec, 5));
    report("256 chunks", worst);
}

// Nor is the last round one of whole rounds of the warps.
TEST_CASE("the stream's phases agree with the oracle where an input comes in rounds") {
    Deviations worst;
    for (const char* type : {"F16", "BF16", "Q8_0", "Q4_1", "Q4_K", "Q6_K", "Q4_K_M"}) {
        auto spec = small_spec();
        spec.type = type;
        spec.n_layers = 2;
        spec.ffn_dim = 4864;
        worst.merge(check(spec, 5));
        spec.ffn_dim = 8960;
        worst.merge(check(spec, 5));
        spec.dim = 4352;  // behind a norm, too
        spec.ffn_dim = 512;
        worst.merge(check(spec, 5));
    }
    report("rounds", worst);
}

TEST_CASE("the stream's attention agrees with the oracle for every shape of heads, however long the context") {
    struct Heads {
        std::uint32_t n, n_kv, dim;
    };
    constexpr Heads kHeads[] = {
        {4, 4, 64},  {3, 1, 64},  {8, 2, 64},  {7, 1, 64},   {8, 1, 64}, {32, 1, 64}, {2, 2, 128},
        {4, 1, 128}, {5, 1, 128}, {8, 1, 128}, {12, 1, 128}, {4, 2, 80}, {34, 1, 64},  // taken by the portable
                                                                                       // attention
    };
    // Positions before the first token: none at all, parts that end within a tile and with one, and in the only block
    // that works several tiles for each warp.
    struct Length {
        int context, n_blocks;
    };
    constexpr Length kLengths[] = {{0, 0}, {6, 0}, {37, 3}, {333, 1}};
    Deviations worst;
    for (const char* architecture : {"llama", "qwen3"}) {
        for (const Heads& heads : kHeads) {
            auto spec = small_spec(architecture);
            spec.n_layers = 1;
            spec.n_heads = heads.n;
            spec.n_kv_heads = heads.n_kv;
            spec.head_dim = heads.dim;
            for (const Length& length : kLengths) {
                CAPTURE(heads.n);
                CAPTURE(heads.n_kv);
                CAPTURE(heads.dim);
                CAPTURE(length.context);
                worst.merge(check(spec, length.context, length.n_blocks));
            }
        }
    }
    report("shapes of heads", worst);
}

TEST_CASE("the stream's attention agrees with the oracle where scores are far apart") {
    Deviations worst;
    for (const std::uint32_t head_dim : {64u, 128u}) {
        auto spec = small_spec();
        spec.head_dim = head_dim;
        spec.n_layers = 1;
        const Deviations d = compare_two_tokens(TestModel(spec).file(), {.context = 200, .key_spread = 30.0f});
        check_limits(d);
        worst.merge(d);
    }
    report("far apart", worst);
}
