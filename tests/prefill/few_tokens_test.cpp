// Prefill's product of few tokens, straight from tiles, against a product in double.
#include <algorithm>
#include <cstdint>
#include <doctest/doctest.h>
#include <span>
#include <vector>

#include "device/prefill_launch.h"
#include "device/sm90/tiles.h"
#include "host/gguf/float16.h"
#include "host/tiles.h"
#include "tests/prefill/product_check.h"
#include "tests/reference/device_array.h"
#include "tests/reference/test_device.h"

using namespace vigil;
using reference::DeviceArray;
using reference::test_device;
using test::kProductTolerance;
using test::kStridePadding;
using test::kUntouched;
using test::prepare_tensor_cores;
using test::random_floats;
using test::worst_product_error;

namespace {

std::size_t size(int a, int b) {
    return static_cast<std::size_t>(a) * static_cast<std::size_t>(b);
}

std::vector<float> decoded(const std::vector<std::uint16_t>& halves) {
    std::vector<float> values;
    for (const std::uint16_t half : halves) values.push_back(gguf::half_to_float(half));
    return values;
}

// A matrix of FP16 in tiles.
struct Matrix {
    device::Tensor tensor;
    std::vector<std::uint16_t> weights;  // in rows
    std::vector<std::byte> packed;

    Matrix(int rows, int cols)
        : tensor{.data = nullptr,
                 .format = device::TensorFormat::kF16,
                 .rows = rows,
                 .cols = cols,
                 .tiles = device::tiles::shape(device::TensorFormat::kF16, cols, false)} {
        for (const float v : random_floats(size(rows, cols), 1)) weights.push_back(gguf::float_to_half(v));
        const std::span<const std::byte> bytes = std::as_bytes(std::span(weights));
        const std::size_t row_bytes = size(cols, sizeof(std::uint16_t));
        const std::size_t tile_bytes = device::tiles::tile_bytes(tensor.tiles);
        packed.resize(device::tiles::matrix_bytes(tensor));
        for (int row = 0; row < rows; row += device::tiles::kRows) {
            const auto n = static_cast<std::size_t>(std::min(device::tiles::kRows, rows - row));
            const auto tile = static_cast<std::size_t>(row / device::tiles::kRows);
            host::pack_tile(tensor, bytes.subspan(static_cast<std::size_t>(row) * row_bytes, n * row_bytes),
                            std::span(packed).subspan(tile * tile_bytes, tile_bytes));
        }
    }
};

// The largest error of out (+)= x · wᵀ; beyond all bounds if anything beside it was touched.
double worst_error(const Matrix& matrix, int n_tokens, bool add) {
    const int rows = matrix.tensor.rows;
    const int cols = matrix.tensor.cols;
    std::vector<std::uint16_t> x;
    for (const float v : random_floats(size(n_tokens, cols), 2)) x.push_back(gguf::float_to_half(v));
    const int stride = rows + kStridePadding;
    // Room for one token more, which nobody asks for.
    std::vector<float> before = random_floats(size(n_tokens + 1, stride), 3);
    for (int t = 0; t <= n_tokens; ++t)
        for (int r = t < n_tokens ? rows : 0; r < stride; ++r)
            before[size(t, stride) + static_cast<std::size_t>(r)] = kUntouched;

    const DeviceArray w(matrix.packed);
    const DeviceArray inputs(x);
    const DeviceArray out(before);
    device::PrefillStep step;
    step.op = device::PrefillOp::kGemm;
    step.gemm = {.w = matrix.tensor,
                 .x = inputs.get(),
                 .out = out.get(),
                 .out_stride = stride,
                 .n_tokens = n_tokens,
                 .add = add};
    step.gemm.w.data = w.get();
    device::PrefillChunk chunk;
    chunk.model.config.head_dim = 64;
    chunk.half_inputs = chunk.tensor_cores = true;
    test_device().run_prefill(chunk, {&step, 1});
    test_device().synchronize();

    return worst_product_error(out.read(), before, decoded(x), decoded(matrix.weights),
                               static_cast<std::size_t>(n_tokens), static_cast<std::size_t>(rows),
                               static_cast<std::size_t>(cols), add);
}

}  // namespace

TEST_CASE("a product of few tokens takes every width that lies in tiles") {
    if (!prepare_tensor_cores()) return;
    for (const int cols : {64, 256, 576, 1536, 4864, 8192}) {
        CAPTURE(cols);
        const Matrix matrix(80, cols);
        for (const int n_tokens : {1, 20, 32})
            for (const bool add : {false, true}) CHECK(worst_error(matrix, n_tokens, add) < kProductTolerance);
    }
}

TEST_CASE("a product of few tokens takes every number of tokens and of rows") {
    if (!prepare_tensor_cores()) return;
    for (const int rows : {1, 15, 16, 17, 100}) {
        CAPTURE(rows);
        const Matrix matrix(rows, 512);
        for (int n_tokens = 1; n_tokens <= device::kFewTokens; ++n_tokens) {
            CAPTURE(n_tokens);
            CHECK(worst_error(matrix, n_tokens, n_tokens % 2 == 0) < kProductTolerance);
        }
    }
}

TEST_CASE("a product of few tokens takes more rows than blocks run at once") {
    if (!prepare_tensor_cores()) return;
    const Matrix matrix(4250, 512);
    for (const int n_tokens : {3, 11, 20, 32}) CHECK(worst_error(matrix, n_tokens, true) < kProductTolerance);
}

TEST_CASE("more tokens than a product of few takes are refused") {
    if (!prepare_tensor_cores()) return;
    const Matrix matrix(16, 256);
    CHECK_THROWS(worst_error(matrix, device::kFewTokens + 1, false));
}
