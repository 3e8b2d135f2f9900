// Stands in for cuBLAS in tests: the same names and the same column-major meaning, in plain loops on host memory.
#include <cstddef>
#include <cstdint>

#include "host/gguf/float16.h"

namespace {

struct Context {
    void* stream;
    void* workspace;
};
constexpr int kSuccess = 0;
constexpr int kNotInitialized = 1;
constexpr int kInvalidValue = 7;

}  // namespace

extern "C" {

int cublasCreate_v2(void** handle) {
    *handle = new Context{};
    return kSuccess;
}

int cublasDestroy_v2(void* handle) {
    delete static_cast<Context*>(handle);
    return kSuccess;
}

int cublasGetVersion_v2(void*, int* version) {
    *version = 990102;
    return kSuccess;
}

int cublasSetStream_v2(void* handle, void* stream) {
    static_cast<Context*>(handle)->stream = stream;
    static_cast<Context*>(handle)->workspace = nullptr;  // as the real one does
    return kSuccess;
}

int cublasSetWorkspace_v2(void* handle, void* workspace, std::size_t) {
    static_cast<Context*>(handle)->workspace = workspace;
    return kSuccess;
}

int cublasSetMathMode(void*, int) {
    return kSuccess;
}

// C [m × n] = alpha · op(A) · op(B) + beta · C, columns first, FP16 by FP16 into FP32.
int cublasGemmEx(void* handle, int transa, int transb, int m, int n, int k, const float* alpha, const std::uint16_t* a,
                 int a_type, int lda, const std::uint16_t* b, int b_type, int ldb, const float* beta, float* c,
                 int c_type, int ldc, int compute, int) {
    if (static_cast<Context*>(handle)->workspace == nullptr) return kNotInitialized;
    constexpr int kF16 = 2, kF32 = 0, kCompute32 = 68;
    if (a_type != kF16 || b_type != kF16 || c_type != kF32 || compute != kCompute32) return kInvalidValue;
    if (lda < (transa ? k : m) || ldb < (transb ? n : k) || ldc < m) return kInvalidValue;
    const auto at = [](const std::uint16_t* x, int ld, bool transposed, int row, int col) {
        const std::ptrdiff_t index = transposed ? std::ptrdiff_t{row} * ld + col : std::ptrdiff_t{col} * ld + row;
        return static_cast<double>(vigil::gguf::half_to_float(x[index]));
    };
    for (int col = 0; col < n; ++col)
        for (int row = 0; row < m; ++row) {
            double sum = 0.0;
            for (int i = 0; i < k; ++i) sum += at(a, lda, transa != 0, row, i) * at(b, ldb, transb != 0, i, col);
            float& out = c[std::ptrdiff_t{col} * ldc + row];
            const double old = *beta != 0.0f ? static_cast<double>(*beta) * static_cast<double>(out) : 0.0;
            out = static_cast<float>(static_cast<double>(*alpha) * sum + old);
        }
    return kSuccess;
}
}
