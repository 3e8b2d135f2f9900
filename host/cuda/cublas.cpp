#include "host/cuda/cublas.h"

#include <cstdlib>
#include <dlfcn.h>
#include <fmt/format.h>

namespace vigil::host {
namespace {

// The part of cublas_v2.h and library_types.h that is used. These numbers and prototypes are the library's binary
// interface, the same in every release from 11 on; so the program needs no CUDA headers to be able to use it.
using Handle = void*;
using Status = int;
constexpr Status kSuccess = 0;         // CUBLAS_STATUS_SUCCESS
constexpr int kNoTranspose = 0;        // CUBLAS_OP_N
constexpr int kTranspose = 1;          // CUBLAS_OP_T
constexpr int kReal32 = 0;             // CUDA_R_32F
constexpr int kReal16 = 2;             // CUDA_R_16F
constexpr int kCompute32 = 68;         // CUBLAS_COMPUTE_32F
constexpr int kDefaultAlgorithm = -1;  // CUBLAS_GEMM_DEFAULT
// CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: partial sums stay FP32.
constexpr int kExactSums = 16;

const char* status_name(Status status) {
    switch (status) {
        case 1:
            return "CUBLAS_STATUS_NOT_INITIALIZED";
        case 3:
            return "CUBLAS_STATUS_ALLOC_FAILED";
        case 7:
            return "CUBLAS_STATUS_INVALID_VALUE";
        case 8:
            return "CUBLAS_STATUS_ARCH_MISMATCH";
        case 11:
            return "CUBLAS_STATUS_MAPPING_ERROR";
        case 13:
            return "CUBLAS_STATUS_EXECUTION_FAILED";
        case 14:
            return "CUBLAS_STATUS_INTERNAL_ERROR";
        case 15:
            return "CUBLAS_STATUS_NOT_SUPPORTED";
        default:
            return "unknown status";
    }
}

void check(Status status, const char* function) {
    if (status != kSuccess)
        throw CublasError(fmt::format("{} returned {} ({})", function, status_name(status), status));
}

std::string last_dl_error() {
    const char* text = dlerror();
    return text != nullptr ? text : "unknown error";
}

}  // namespace

struct Cublas::Library {
    void* object = nullptr;
    std::string name;
    Status (*create)(Handle*) = nullptr;
    Status (*destroy)(Handle) = nullptr;
    Status (*get_version)(Handle, int*) = nullptr;
    Status (*set_stream)(Handle, void*) = nullptr;
    Status (*set_workspace)(Handle, void*, std::size_t) = nullptr;
    Status (*set_math_mode)(Handle, int) = nullptr;
    Status (*gemm)(Handle, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int,
                   const void*, void*, int, int, int, int) = nullptr;

    explicit Library(const std::vector<std::string>& libraries) {
        std::string failures;
        for (const std::string& candidate : libraries) {
            object = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
            if (object == nullptr) {
                failures += fmt::format("{}{}", failures.empty() ? "" : "; ", last_dl_error());
                continue;
            }
            name = candidate;
            resolve("cublasCreate_v2", create);
            resolve("cublasDestroy_v2", destroy);
            resolve("cublasGetVersion_v2", get_version);
            resolve("cublasSetStream_v2", set_stream);
            resolve("cublasSetWorkspace_v2", set_workspace);
            resolve("cublasSetMathMode", set_math_mode);
            resolve("cublasGemmEx", gemm);
            return;
        }
        throw CublasError(fmt::format("no cuBLAS could be opened: {}", failures));
    }
    ~Library() {
        if (object != nullptr) dlclose(object);
    }
    Library(const Library&) = delete;
    Library& operator=(const Library&) = delete;

   private:
    template <class Function>
    void resolve(const char* symbol, Function*& function) {
        function = reinterpret_cast<Function*>(dlsym(object, symbol));
        if (function != nullptr) return;
        dlclose(object);
        throw CublasError(fmt::format("{} has no function {}", name, symbol));
    }
};

std::vector<std::string> Cublas::candidates(int major) {
    const std::string file = fmt::format("libcublas.so.{}", major);
    std::vector<std::string> names;
    if (const char* directory = std::getenv("VIGIL_CUBLAS"); directory != nullptr && *directory != '\0')
        names.push_back(fmt::format("{}/{}", directory, file));
    names.push_back(file);
    names.push_back("/usr/local/cuda/lib64/" + file);
    names.push_back(fmt::format("/usr/local/cuda-{}/lib64/{}", major, file));
    return names;
}

Cublas::Cublas(const std::vector<std::string>& libraries, void* stream, void* workspace, std::size_t workspace_bytes)
    : library_(std::make_unique<Library>(libraries)) {
    check(library_->create(&handle_), "cublasCreate_v2");
    try {
        int version = 0;
        check(library_->get_version(handle_, &version), "cublasGetVersion_v2");
        version_ = fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
        // The stream first: setting it resets the workspace.
        check(library_->set_stream(handle_, stream), "cublasSetStream_v2");
        check(library_->set_workspace(handle_, workspace, workspace_bytes), "cublasSetWorkspace_v2");
        check(library_->set_math_mode(handle_, kExactSums), "cublasSetMathMode");
    } catch (...) {
        library_->destroy(handle_);
        throw;
    }
}

Cublas::~Cublas() {
    library_->destroy(handle_);
}

// cuBLAS counts columns first: row-major w [rows, cols] is its [cols × rows], so out's transpose [rows × n_tokens] is
// wᵀ · x in its terms.
void Cublas::multiply(const void* w, int rows, int cols, const void* x, int n_tokens, float* out, int out_stride,
                      bool add) {
    const float alpha = 1.0f;
    const float beta = add ? 1.0f : 0.0f;
    check(library_->gemm(handle_, kTranspose, kNoTranspose, rows, n_tokens, cols, &alpha, w, kReal16, cols, x, kReal16,
                         cols, &beta, out, kReal32, out_stride, kCompute32, kDefaultAlgorithm),
          "cublasGemmEx");
}

}  // namespace vigil::host
