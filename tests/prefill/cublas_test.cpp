// How cuBLAS is found and called: against a library that behaves like it, and against none.
#include "host/cuda/cublas.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "host/gguf/float16.h"

using vigil::gguf::float_to_half;
using vigil::gguf::half_to_float;
using vigil::host::Cublas;
using vigil::host::CublasError;

namespace {

const std::string kFake = FAKE_CUBLAS_DIRECTORY "/libcublas.so.99";
std::vector<std::byte> workspace(64);

std::vector<std::uint16_t> halves(std::size_t n, unsigned seed) {
    std::vector<std::uint16_t> values(n);
    for (std::size_t i = 0; i < n; ++i)
        values[i] = float_to_half(static_cast<float>((i * 37 + seed * 11) % 101) / 101.0f - 0.5f);
    return values;
}

std::string failure_of(const std::vector<std::string>& libraries) {
    try {
        const Cublas cublas(libraries, nullptr, workspace.data(), workspace.size());
    } catch (const CublasError& e) {
        return e.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a product has the rows of x and the columns that w has rows, spaced as asked") {
    Cublas cublas({kFake}, nullptr, workspace.data(), workspace.size());
    constexpr int kRows = 5, kCols = 8, kTokens = 3, kStride = 7;
    const auto w = halves(kRows * kCols, 1);
    const auto x = halves(kTokens * kCols, 2);
    for (const bool add : {false, true}) {
        std::vector<float> out(kTokens * kStride, 100.0f);
        cublas.multiply(w.data(), kRows, kCols, x.data(), kTokens, out.data(), kStride, add);
        for (int t = 0; t < kTokens; ++t) {
            for (int r = 0; r < kRows; ++r) {
                double expected = add ? 100.0 : 0.0;
                for (int c = 0; c < kCols; ++c)
                    expected += static_cast<double>(half_to_float(x[static_cast<std::size_t>(t * kCols + c)])) *
                                static_cast<double>(half_to_float(w[static_cast<std::size_t>(r * kCols + c)]));
                CHECK(static_cast<double>(out[static_cast<std::size_t>(t * kStride + r)]) ==
                      doctest::Approx(expected).epsilon(1e-6));
            }
            for (int r = kRows; r < kStride; ++r) CHECK(out[static_cast<std::size_t>(t * kStride + r)] == 100.0f);
        }
    }
}

TEST_CASE("the version is given as the release is called") {
    const Cublas cublas({kFake}, nullptr, workspace.data(), workspace.size());
    CHECK(cublas.version() == "99.1.2");
}

TEST_CASE("the first library that opens is taken") {
    const Cublas cublas({"/nonexistent/libcublas.so.99", kFake}, nullptr, workspace.data(), workspace.size());
    CHECK(cublas.version() == "99.1.2");
}

TEST_CASE("without any library the error names all that were tried") {
    const std::string text = failure_of({"/nonexistent/a.so.13", "libnosuchcublas.so.13"});
    CHECK(text.find("/nonexistent/a.so.13") != std::string::npos);
    CHECK(text.find("libnosuchcublas.so.13") != std::string::npos);
}

TEST_CASE("a library that is not cuBLAS is refused with the function that it lacks") {
    const std::string text = failure_of({"libm.so.6"});
    CHECK(text.find("libm.so.6 has no function cublasCreate_v2") != std::string::npos);
}

TEST_CASE("a file that is no library is refused") {
    const auto path = std::filesystem::temp_directory_path() / "vigil_not_a_library.so";
    std::ofstream(path) << "not a library";
    const std::string text = failure_of({path.string()});
    CHECK(text.find("vigil_not_a_library.so") != std::string::npos);
    std::filesystem::remove(path);
}

TEST_CASE("the user's directory comes before the system's") {
    setenv("VIGIL_CUBLAS", "/opt/mine", 1);
    const auto with = Cublas::candidates(13);
    unsetenv("VIGIL_CUBLAS");
    const auto without = Cublas::candidates(13);
    REQUIRE(with.size() == without.size() + 1);
    CHECK(with.front() == "/opt/mine/libcublas.so.13");
    CHECK(without.front() == "libcublas.so.13");
}

TEST_CASE("a call that cuBLAS refuses is reported with its status") {
    Cublas cublas({kFake}, nullptr, workspace.data(), workspace.size());
    const auto w = halves(8, 1);
    float out = 0.0f;
    std::string text;
    try {
        cublas.multiply(w.data(), 1, 8, w.data(), 1, &out, 0, false);
    } catch (const CublasError& e) {
        text = e.what();
    }
    CHECK(text == "cublasGemmEx returned CUBLAS_STATUS_INVALID_VALUE (7)");
}
