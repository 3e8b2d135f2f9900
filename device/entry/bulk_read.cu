// A kernel that only reads, by bulk copies into shared memory: what the memory of a GPU of sm_90 gives at best.
// PTX: the mbarrier and cp.async.bulk chapters of NVIDIA's "PTX ISA".
#include <cuda_runtime.h>

#include "device/read_ceiling.h"

namespace vigil::device::cuda {
namespace {

constexpr int kThreads = 32;
constexpr std::uint32_t kMaxSpins = 1u << 24;  // seconds: a copy that never comes ends the kernel, not the machine

#if __CUDA_ARCH__ >= 900

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void barrier_init(std::uint64_t* barrier) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(barrier)) : "memory");
}

// The copy engine must see the barriers before the first copy that names one.
__device__ __forceinline__ void make_barriers_visible() {
    asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void start_copy(void* to, const char* from, std::uint32_t bytes, std::uint64_t* barrier) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     shared_address(to)),
                 "l"(from), "r"(bytes), "r"(shared_address(barrier))
                 : "memory");
}

__device__ __forceinline__ bool await_copy(std::uint64_t* barrier, std::uint32_t parity) {
    for (std::uint32_t spins = 0; spins < kMaxSpins; ++spins) {
        std::uint32_t done;
        asm volatile(
            "{\n\t.reg .pred p;\n\t"
            "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
            "selp.u32 %0, 1, 0, p;\n\t}"
            : "=r"(done)
            : "r"(shared_address(barrier)), "r"(parity)
            : "memory");
        if (done != 0) return true;
    }
    return false;
}

#endif

// Block b takes the pieces b, b + n_blocks, … Each of the stages holds one copy under way.
__global__ void __launch_bounds__(kThreads)
    bulk_read_kernel(const char* data, const std::size_t n_pieces, const std::int32_t passes, const int n_stages,
                     [[maybe_unused]] std::uint32_t* sink) {
#if __CUDA_ARCH__ >= 900
    extern __shared__ __align__(128) char stages[];
    __shared__ std::uint64_t arrived[kMaxBulkStages];
    if (threadIdx.x != 0) return;
    for (int s = 0; s < n_stages; ++s) barrier_init(&arrived[s]);
    make_barriers_visible();
    const std::size_t per_pass = (n_pieces - blockIdx.x + gridDim.x - 1) / gridDim.x;
    const std::size_t n = per_pass * static_cast<std::size_t>(passes);
    std::size_t upcoming = blockIdx.x;
    const auto start_next = [&](int stage) {
        start_copy(stages + stage * kBulkPieceBytes, data + upcoming * kBulkPieceBytes, kBulkPieceBytes,
                   &arrived[stage]);
        upcoming += gridDim.x;
        if (upcoming >= n_pieces) upcoming = blockIdx.x;
    };
    for (int s = 0; s < n_stages && static_cast<std::size_t>(s) < n; ++s) start_next(s);
    int stage = 0;
    std::uint32_t parity = 0;
    for (std::size_t i = 0; i < n; ++i) {
        if (!await_copy(&arrived[stage], parity)) {
            *sink = 1;
            return;
        }
        if (i + static_cast<std::size_t>(n_stages) < n) start_next(stage);
        if (++stage == n_stages) {
            stage = 0;
            parity ^= 1;
        }
    }
#else
    __trap();  // launch_bulk_read does not come here
#endif
}

}  // namespace

bool can_bulk_read() {
    // Code made from the PTX of an older architecture has no bulk copies, whatever GPU it runs on.
    cudaFuncAttributes attributes{};
    if (cudaFuncGetAttributes(&attributes, bulk_read_kernel) != cudaSuccess) {
        cudaGetLastError();
        return false;
    }
    return attributes.ptxVersion >= 90;
}

int launch_bulk_read(const void* data, std::size_t bytes, std::int32_t passes, std::int32_t n_stages,
                     std::uint32_t* sink, std::int32_t n_blocks, void* stream) {
    const std::size_t n_pieces = bytes / kBulkPieceBytes;
    if (!can_bulk_read()) return cudaErrorNotSupported;
    if (n_stages < 1 || n_stages > kMaxBulkStages || n_pieces < static_cast<std::size_t>(n_blocks))
        return cudaErrorInvalidValue;
    const int shared_bytes = n_stages * kBulkPieceBytes;
    const cudaError_t error =
        cudaFuncSetAttribute(bulk_read_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (error != cudaSuccess) return error;
    bulk_read_kernel<<<static_cast<unsigned>(n_blocks), kThreads, static_cast<std::size_t>(shared_bytes),
                       static_cast<cudaStream_t>(stream)>>>(static_cast<const char*>(data), n_pieces, passes, n_stages,
                                                            sink);
    return cudaGetLastError();
}

}  // namespace vigil::device::cuda
