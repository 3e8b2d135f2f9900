// Single steps of prefill on the device under test, against plain loops in double.
#include <cmath>
#include <cstdint>
#include <doctest/doctest.h>
#include <string>
#include <vector>

#include "device/launch.h"
#include "device/prefill_launch.h"
#include "host/gguf/float16.h"
#include "tests/prefill/product_check.h"
#include "tests/reference/device_array.h"
#include "tests/reference/harness.h"

namespace {

using vigil::device::PrefillChunk;
using vigil::device::PrefillOp;
using vigil::device::PrefillStep;
using vigil::device::TensorFormat;
using vigil::gguf::half_to_float;
using vigil::reference::DeviceArray;
using vigil::reference::test_device;
using vigil::test::kProductTolerance;
using vigil::test::kStridePadding;
using vigil::test::kUntouched;
using vigil::test::prepare_tensor_cores;
using vigil::test::random_floats;
using vigil::test::worst_product_error;

void run(PrefillChunk chunk, const PrefillStep& step, int n_blocks = 2) {
    chunk.model.plan.n_blocks = n_blocks;
    test_device().run_prefill(chunk, {&step, 1});
    test_device().synchronize();
}

struct Product {
    std::vector<float> out;
    double worst = 0.0;  // error relative to the sum of the magnitudes of the terms
};

// out (+)= x · wᵀ by the step under test, judged against double; x in FP16 on tensor cores if `half_inputs`.
Product multiply(TensorFormat format, int n_tokens, int rows, int cols, bool add, int n_blocks = 2,
                 bool half_inputs = false) {
    const auto encode = format == TensorFormat::kF16 ? vigil::gguf::float_to_half : vigil::gguf::float_to_bfloat16;
    const auto decode = format == TensorFormat::kF16 ? half_to_float : vigil::gguf::bfloat16_to_float;
    const auto size = [](int a, int b) { return static_cast<std::size_t>(a) * static_cast<std::size_t>(b); };
    std::vector<std::uint16_t> weights;
    for (const float v : random_floats(size(rows, cols), 1)) weights.push_back(encode(v));
    std::vector<float> inputs = random_floats(size(n_tokens, cols), 2);
    std::vector<std::uint16_t> halves;
    for (float& v : inputs) {
        halves.push_back(vigil::gguf::float_to_half(v));
        if (half_inputs) v = half_to_float(halves.back());
    }
    const int stride = rows + kStridePadding;
    std::vector<float> before = random_floats(size(n_tokens, stride), 3, 10.0f);
    for (int t = 0; t < n_tokens; ++t)
        for (int r = rows; r < stride; ++r) before[size(t, stride) + static_cast<std::size_t>(r)] = kUntouched;

    const DeviceArray w(weights);
    const DeviceArray x(inputs);
    const DeviceArray half_x(halves);
    const DeviceArray out(before);
    PrefillStep step;
    step.op = PrefillOp::kGemm;
    step.gemm = {.w = {.data = w.get(), .format = format, .rows = rows, .cols = cols},
                 .x = half_inputs ? static_cast<const void*>(half_x.get()) : x.get(),
                 .out = out.get(),
                 .out_stride = stride,
                 .n_tokens = n_tokens,
                 .add = add};
    PrefillChunk chunk;
    chunk.model.config.head_dim = 64;
    chunk.half_inputs = chunk.tensor_cores = half_inputs;
    run(chunk, step, n_blocks);

    std::vector<float> decoded;
    for (const std::uint16_t v : weights) decoded.push_back(decode(v));
    Product product{out.read()};
    product.worst = worst_product_error(product.out, before, inputs, decoded, static_cast<std::size_t>(n_tokens),
                                        static_cast<std::size_t>(rows), static_cast<std::size_t>(cols), add);
    return product;
}

struct InstructionSet {
    explicit InstructionSet(const char* name) : before_(vigil::device::cpu::isa()) {
        available = vigil::device::cpu::select_isa(name);
    }
    ~InstructionSet() { vigil::device::cpu::select_isa(before_.c_str()); }
    InstructionSet(const InstructionSet&) = delete;
    InstructionSet& operator=(const InstructionSet&) = delete;
    bool available;

   private:
    std::string before_;
};

}  // namespace

TEST_CASE("a GEMM of any size agrees with a product in double and touches nothing beside it") {
    for (const int n_tokens : {1, 7, 64, 65})
        for (const int rows : {1, 63, 576})
            for (const int cols : {64, 576, 896, 1536}) {
                CAPTURE(n_tokens);
                CAPTURE(rows);
                CAPTURE(cols);
                CHECK(multiply(TensorFormat::kF16, n_tokens, rows, cols, false).worst < kProductTolerance);
            }
}

TEST_CASE("a GEMM takes columns that are no multiple of its depth, down to eight") {
    for (const int cols : {8, 24, 264, 520}) {
        CAPTURE(cols);
        CHECK(multiply(TensorFormat::kF16, 33, 40, cols, false).worst < kProductTolerance);
    }
}

TEST_CASE("a GEMM takes more tokens than a tile holds") {
    CHECK(multiply(TensorFormat::kF16, 513, 24, 64, true).worst < kProductTolerance);
}

TEST_CASE("a GEMM reads BF16 weights") {
    CHECK(multiply(TensorFormat::kBF16, 65, 63, 576, false).worst < kProductTolerance);
}

TEST_CASE("a GEMM on tensor cores agrees with a product in double and touches nothing beside it") {
    if (!prepare_tensor_cores()) return;
    for (const TensorFormat format : {TensorFormat::kF16, TensorFormat::kBF16})
        for (const bool add : {false, true})
            for (const int n_tokens : {1, 64, 65, 300})
                for (const int rows : {1, 63, 576})
                    for (const int cols : {8, 24, 264, 1536}) {
                        CAPTURE(n_tokens);
                        CAPTURE(rows);
                        CAPTURE(cols);
                        CHECK(multiply(format, n_tokens, rows, cols, add, 1, true).worst < kProductTolerance);
                    }
    // Enough for the larger tiles, one after the other.
    for (const TensorFormat format : {TensorFormat::kF16, TensorFormat::kBF16}) {
        CHECK(multiply(format, 300, 1500, 264, true, 1, true).worst < kProductTolerance);
        CHECK(multiply(format, 300, 5001, 264, true, 1, true).worst < kProductTolerance);
        CHECK(multiply(format, 1000, 5001, 72, true, 1, true).worst < kProductTolerance);
    }
}

TEST_CASE("a GEMM adds to what is there when told to") {
    CHECK(multiply(TensorFormat::kF16, 65, 63, 576, true).worst < kProductTolerance);
    CHECK(multiply(TensorFormat::kBF16, 7, 576, 896, true).worst < kProductTolerance);
}

TEST_CASE("a GEMM gives the same bits on any number of blocks") {
    const auto one = multiply(TensorFormat::kF16, 65, 63, 576, true, 1).out;
    for (const int n_blocks : {2, 3, 7}) CHECK(multiply(TensorFormat::kF16, 65, 63, 576, true, n_blocks).out == one);
}

TEST_CASE("every instruction set's GEMM is right") {
    for (const char* name : {"avx2", "baseline"}) {
        const InstructionSet isa(name);
        if (!isa.available) {
            MESSAGE("this CPU or build has no " << std::string(name));
            continue;
        }
        CAPTURE(std::string(name));
        CHECK(multiply(TensorFormat::kF16, 65, 63, 576, true).worst < kProductTolerance);
        CHECK(multiply(TensorFormat::kBF16, 7, 16, 264, false).worst < kProductTolerance);
    }
}

TEST_CASE("a matrix unpacked for a library has the weights in FP16, and finite ones stay finite") {
    constexpr int kRows = 5, kCols = 24;
    auto values = random_floats(kRows * kCols, 6);
    values[7] = 1e38f;
    values[8] = -1e38f;
    values[9] = 1e-38f;
    std::vector<std::uint16_t> weights;
    for (const float v : values) weights.push_back(vigil::gguf::float_to_bfloat16(v));
    const DeviceArray w(weights);
    const DeviceArray halves(std::vector<std::uint16_t>(kRows * kCols, 0x7bff));
    PrefillStep step;
    step.op = PrefillOp::kUnpack;
    step.gemm.w = {.data = w.get(), .format = TensorFormat::kBF16, .rows = kRows, .cols = kCols};
    step.halves = halves.get();
    PrefillChunk chunk;
    chunk.model.config.head_dim = 64;
    run(chunk, step);
    const auto got = halves.read();
    for (std::size_t i = 0; i < got.size(); ++i)
        if (i != 7 && i != 8) CHECK(got[i] == vigil::gguf::float_to_half(vigil::gguf::bfloat16_to_float(weights[i])));
    CHECK(half_to_float(got[7]) == 65504.0f);
    CHECK(half_to_float(got[8]) == -65504.0f);
}

TEST_CASE("inputs for an FP16 GEMM are the FP32 ones rounded, and finite ones stay finite") {
    constexpr int kTokens = 3, kFfn = 24;
    auto gate = random_floats(kTokens * kFfn, 4, 3.0f);
    auto up = random_floats(kTokens * kFfn, 5, 3.0f);
    gate[5] = 400.0f;
    up[5] = 400.0f;  // 160,000: beyond FP16
    gate[6] = 400.0f;
    up[6] = -400.0f;
    const DeviceArray gates(gate);
    const DeviceArray ups(up);
    const DeviceArray single(std::vector<float>(kTokens * kFfn));
    const DeviceArray half(std::vector<std::uint16_t>(kTokens * kFfn));
    PrefillChunk chunk;
    chunk.model.config.ffn_dim = kFfn;
    chunk.model.config.head_dim = 64;
    chunk.n_tokens = kTokens;
    chunk.buffers.gate = gates.get();
    chunk.buffers.up = ups.get();
    PrefillStep step;
    step.op = PrefillOp::kSwiglu;
    chunk.buffers.x = single.get();
    run(chunk, step);
    chunk.buffers.x = half.get();
    chunk.half_inputs = true;
    run(chunk, step);

    const auto singles = single.read();
    const auto halves = half.read();
    for (std::size_t i = 0; i < singles.size(); ++i) {
        const double g = static_cast<double>(gate[i]);
        CHECK(static_cast<double>(singles[i]) ==
              doctest::Approx(g / (1.0 + std::exp(-g)) * static_cast<double>(up[i])).epsilon(1e-5));
        if (i != 5 && i != 6) CHECK(halves[i] == vigil::gguf::float_to_half(singles[i]));
    }
    CHECK(half_to_float(halves[5]) == 65504.0f);
    CHECK(half_to_float(halves[6]) == -65504.0f);
}
