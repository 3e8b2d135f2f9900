// Every phase against the oracle over head sizes, head counts, grouped queries and context lengths.
#include <doctest/doctest.h>

#include "tests/phases/phase_check.h"
#include "tests/phases/test_model.h"

using namespace vigil;
using namespace vigil::phases;

namespace {

struct Heads {
    std::uint32_t n_heads;
    std::uint32_t n_kv_heads;
};

synth::ModelSpec spec_of(Heads heads, std::uint32_t head_dim) {
    auto spec = small_spec();
    spec.n_heads = heads.n_heads;
    spec.n_kv_heads = heads.n_kv_heads;
    spec.head_dim = head_dim;
    return spec;
}

void check(const gguf::File& file, const CheckOptions& options, Deviations& worst) {
    CAPTURE(options.context);
    const Deviations d = compare_two_tokens(file, options);
    check_limits(d);
    worst.merge(d);
}

}  // namespace

TEST_CASE("[full] phases agree with the oracle for every head size and number of queries per key") {
    Deviations worst;
    for (const std::uint32_t head_dim : {64u, 80u, 96u, 128u, 256u}) {
        // Queries per key: 1, 2, 3, 4, 7, 8; the last two have one key head for all.
        for (const Heads heads : {Heads{3, 3}, {4, 2}, {9, 3}, {8, 2}, {14, 2}, {16, 2}, {5, 1}, {1, 1}}) {
            CAPTURE(head_dim);
            CAPTURE(heads.n_heads);
            CAPTURE(heads.n_kv_heads);
            const TestModel model(spec_of(heads, head_dim));
            for (const int context : {0, 45}) check(model.file(), {.context = context, .seed = head_dim}, worst);
        }
    }
    report("head sizes and counts", worst);
}

TEST_CASE("[full] phases agree with the oracle for every context length") {
    Deviations worst;
    for (const Heads heads : {Heads{4, 2}, {7, 1}}) {
        const TestModel model(spec_of(heads, heads.n_kv_heads == 1 ? 80 : 64));
        // Around the borders of a part of the KV length, of a warp and of the longest context asked for.
        for (const int context :
             {0, 1, 2, 7, 15, 30, 31, 32, 33, 62, 63, 64, 127, 255, 256, 257, 511, 1000, 2047, 4094})
            check(model.file(), {.context = context}, worst);
    }
    report("context lengths", worst);
}

TEST_CASE("attention agrees with the oracle when it is peaked") {
    Deviations worst;
    const TestModel model(spec_of({8, 2}, 64));
    for (const float spread : {4.0f, 32.0f})
        for (const int context : {20, 700}) check(model.file(), {.context = context, .key_spread = spread}, worst);
    report("peaked attention", worst);
}

TEST_CASE("phases agree with the oracle whatever the number of blocks") {
    Deviations worst;
    const TestModel model(spec_of({9, 3}, 64));
    for (const int n_blocks : {1, 3, 8}) {
        CAPTURE(n_blocks);
        check(model.file(), {.context = 100, .n_blocks = n_blocks}, worst);
    }
    report("numbers of blocks", worst);
}
