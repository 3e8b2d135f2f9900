// cuBLAS, opened when it is wanted: a program without it still runs, with our own GEMM.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace vigil::host {

// Why there is no cuBLAS, or what a call of it returned.
class CublasError : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
};

// One handle on one stream, with a workspace that the caller owns; nothing is allocated after it is made.
class Cublas {
   public:
    // Bytes of device memory that make all of cuBLAS's algorithms possible on any GPU.
    static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

    // Where the library of major version `major` is looked for, in this order: the directory in the environment
    // variable VIGIL_CUBLAS, the loader's own places, the toolkit's.
    static std::vector<std::string> candidates(int major);

    // Opens the first of `libraries` that can be, and makes a handle on `stream` (a cudaStream_t). Throws CublasError
    // with every name tried and why it failed. Makes CUDA calls that may allocate: not while the kernel is resident.
    Cublas(const std::vector<std::string>& libraries, void* stream, void* workspace, std::size_t workspace_bytes);
    ~Cublas();
    Cublas(const Cublas&) = delete;
    Cublas& operator=(const Cublas&) = delete;

    // out[t, r] (+)= sum over c of x[t, c] * w[r, c]: w [rows, cols] and x [n_tokens, cols] FP16, sums and out FP32,
    // out's rows out_stride apart. Enqueues on the stream. Throws CublasError.
    void multiply(const void* w, int rows, int cols, const void* x, int n_tokens, float* out, int out_stride, bool add);

    // "13.0.2"
    const std::string& version() const noexcept { return version_; }

   private:
    struct Library;
    std::unique_ptr<Library> library_;
    void* handle_ = nullptr;
    std::string version_;
};

}  // namespace vigil::host
