// The probes' kernels: an exchange over and over, looks at words over and over, answers, and nothing at all.
#include <cuda_runtime.h>

#include "device/launch.h"
#include "device/probes.h"
#include "device/seams/machine.cuh"
#include "device/seams/team_cuda.cuh"

namespace vigil::device::cuda {
namespace {

constexpr std::uint64_t kDeadlineNs = 1'000'000'000;
constexpr std::uint32_t kEpochBits = 3;

// What element `i` is in round `round`, with room for the epoch in its lowest bits.
__device__ __forceinline__ std::uint32_t value_bits(int i, int round) {
    return __float_as_uint(static_cast<float>(i) + 0.5f * static_cast<float>(round & 1023)) & ~kEpochBits;
}

// Each element of a buffer is written every second round, so two bits tell its epochs apart.
__device__ __forceinline__ std::uint32_t epoch_of(int round) {
    return static_cast<std::uint32_t>(round / 2 + 1) & kEpochBits;
}

// Sixteen bytes that another block may be writing: four words, each of which says itself whether it is new.
__device__ __forceinline__ uint4 load_words(const float* p) {
    uint4 v;
    asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p)
                 : "memory");
    return v;
}

__device__ __forceinline__ bool all_of_epoch(const uint4& v, std::uint32_t epoch) {
    return (v.x & kEpochBits) == epoch && (v.y & kEpochBits) == epoch && (v.z & kEpochBits) == epoch &&
           (v.w & kEpochBits) == epoch;
}

struct Round {
    float* buffer;
    int index;
};

// Two buffers in turn: who is in round r + 2 has read all of r + 1, which everyone published after reading r.
__device__ __forceinline__ Round round_at(const ExchangeProbe& p, int index) {
    return {p.values + (index & 1) * kMaxExchangedFloats, index};
}

__device__ __forceinline__ void publish(const CudaTeam& team, const Round& r, const Range& mine, std::uint32_t epoch) {
    for (int i = mine.begin + team.thread(); i < mine.end; i += team.n_threads())
        ring::store_relaxed(reinterpret_cast<std::uint32_t*>(r.buffer) + i, value_bits(i, r.index) | epoch);
}

__device__ __forceinline__ void gather(const CudaTeam& team, const Round& r, int n, uint4* values) {
    for (int i = team.thread(); i < n / 4; i += team.n_threads())
        values[i] = __ldcg(reinterpret_cast<const uint4*>(r.buffer) + i);
}

// A word that never comes ends the wait, not the machine; the check of the values then tells.
__device__ __forceinline__ void poll(const CudaTeam& team, const Round& r, int n, std::uint32_t epoch, uint4* values) {
    for (int i = team.thread(); i < n / 4; i += team.n_threads()) {
        uint4 v = load_words(r.buffer + 4 * i);
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 1; !all_of_epoch(v, epoch); ++spins) {
            if (spins % 1024 == 0) {
                const std::uint64_t now = CudaTeam::clock_ns();
                if (give_up == 0) give_up = now + kDeadlineNs;
                if (now > give_up) break;
            }
            v = load_words(r.buffer + 4 * i);
        }
        values[i] = v;
    }
}

// One word a round per thread: enough to notice an exchange that does not exchange.
__device__ __forceinline__ void check(const CudaTeam& team, const ExchangeProbe& p, const Round& r, std::uint32_t epoch,
                                      const uint4* values) {
    const int i = (team.thread() * 7 + r.index) % p.n_floats;
    const std::uint32_t seen = reinterpret_cast<const std::uint32_t*>(values)[i];
    if (seen != (value_bits(i, r.index) | epoch)) atomicAdd(p.wrong, 1u);
}

template <ExchangeForm F>
__global__ void __launch_bounds__(kThreadsPerBlock, 1) exchange_kernel(const ExchangeProbe p, const KernelArgs args) {
    __shared__ __align__(128) char scratch_bytes[sizeof(BlockScratch)];
    __shared__ uint4 values[kMaxExchangedFloats / 4];
    const CudaTeam team{scratch_bytes};
    auto* scratch = reinterpret_cast<BlockScratch*>(scratch_bytes);
    ResidentExchange<CudaTeam> exchange;
    if (team.thread() == 0) {
        scratch->failed = 0;
        scratch->arrivals_wanted = 0;
        scratch->patience = exchange.patience(team, args);
    }
    team.sync();
    const Range mine = share(p.n_floats, team.block(), team.n_blocks());
    std::uint64_t begin = 0;
    for (int index = 0; index < p.n_rounds; ++index) {
        if (index == p.n_rounds / 10) begin = CudaTeam::clock_ns();
        const Round r = round_at(p, index);
        const std::uint32_t epoch = epoch_of(index);
        if (F != ExchangeForm::barrier) publish(team, r, mine, epoch);
        if (F != ExchangeForm::flagged_words) {
            exchange.arrive(team, scratch);
            exchange.await_all(team, scratch, ring::Phase::kNone);
        }
        if (F == ExchangeForm::barrier_gather) gather(team, r, p.n_floats, values);
        if (F == ExchangeForm::flagged_words) poll(team, r, p.n_floats, epoch, values);
        if (F != ExchangeForm::barrier) {
            team.sync();
            check(team, p, r, epoch, values);
            team.sync();
        }
    }
    if (team.block() == 0 && team.thread() == 0) *p.elapsed_ns = CudaTeam::clock_ns() - begin;
}

template <LookForm F, int N>
__global__ void look_kernel(const LookProbe p) {
    const int lane = static_cast<int>(threadIdx.x);
    const std::uint64_t begin = CudaTeam::clock_ns();
    std::uint64_t sum = 0;
    for (int round = 0; round < p.n_rounds; ++round) {
        const std::uint64_t* from = p.words + sum;  // 0, which only the round before can tell
        if (F == LookForm::lanes) {
            if (lane < N) sum += ring::load_relaxed(&from[lane * p.stride]);
        } else if (lane == 0) {
            std::uint64_t words[N];
#pragma unroll
            for (int i = 0; i < N; ++i) words[i] = ring::load_relaxed(&from[i * p.stride]);
#pragma unroll
            for (int i = 0; i < N; ++i) sum += words[i];
        }
        __syncwarp();
    }
    if (lane == 0) *p.elapsed_ns = CudaTeam::clock_ns() - begin + sum;
}

using LookKernel = void (*)(LookProbe);

template <LookForm F>
LookKernel look_kernel_of(std::int32_t n_words) {
    switch (n_words) {
        case 1:
            return look_kernel<F, 1>;
        case 2:
            return look_kernel<F, 2>;
        case 4:
            return look_kernel<F, 4>;
        case 8:
            return look_kernel<F, 8>;
        case kMaxLookedAt:
            return look_kernel<F, kMaxLookedAt>;
        default:
            return nullptr;
    }
}

__global__ void answer_kernel(const AnswerProbe p) {
    const int lane = static_cast<int>(threadIdx.x);
    for (int round = 1; round <= p.n_rounds; ++round) {
        std::uint64_t give_up = 0;
        for (std::uint32_t spins = 1;; ++spins) {
            const std::uint64_t word = lane < kMaxLookedAt ? ring::load_relaxed(&p.words[lane]) : 0;
            const bool seen = lane == kMaxLookedAt - 1 && word == static_cast<std::uint64_t>(round);
            if (__any_sync(~0u, seen)) break;
            if (spins % 1024 != 0) continue;
            const std::uint64_t now = CudaTeam::clock_ns();
            if (give_up == 0) give_up = now + kDeadlineNs;
            if (now > give_up) return;
        }
        if (lane == 0) ring::store_relaxed(p.answer, static_cast<std::uint64_t>(round));
    }
}

__global__ void empty_kernel() {}

using ExchangeKernel = void (*)(ExchangeProbe, KernelArgs);

ExchangeKernel kernel_of(ExchangeForm form) {
    switch (form) {
        case ExchangeForm::barrier:
            return exchange_kernel<ExchangeForm::barrier>;
        case ExchangeForm::barrier_gather:
            return exchange_kernel<ExchangeForm::barrier_gather>;
        case ExchangeForm::flagged_words:
            break;
    }
    return exchange_kernel<ExchangeForm::flagged_words>;
}

}  // namespace

int launch_exchange(const ExchangeProbe& probe, void* stream) {
    auto* const cuda_stream = static_cast<cudaStream_t>(stream);
    KernelArgs args;
    args.sync = probe.sync;
    args.faults = probe.faults;
    args.deadline_ns = kDeadlineNs;
    // Neither the barrier's counter nor the epochs may be those of the run before.
    cudaError_t error = cudaMemsetAsync(probe.sync, 0, sizeof(SyncWords), cuda_stream);
    if (error == cudaSuccess)
        error = cudaMemsetAsync(probe.values, 0, 2 * kMaxExchangedFloats * sizeof(float), cuda_stream);
    if (error != cudaSuccess) return error;
    kernel_of(probe.form)<<<static_cast<unsigned>(probe.n_blocks), kThreadsPerBlock, 0, cuda_stream>>>(probe, args);
    return cudaGetLastError();
}

int launch_looks(const LookProbe& probe, void* stream) {
    const LookKernel kernel = probe.form == LookForm::lanes ? look_kernel_of<LookForm::lanes>(probe.n_words)
                                                            : look_kernel_of<LookForm::one_thread>(probe.n_words);
    if (kernel == nullptr) return cudaErrorInvalidValue;
    kernel<<<1, CudaTeam::kWarpSize, 0, static_cast<cudaStream_t>(stream)>>>(probe);
    return static_cast<int>(cudaGetLastError());
}

int launch_answers(const AnswerProbe& probe, void* stream) {
    answer_kernel<<<1, CudaTeam::kWarpSize, 0, static_cast<cudaStream_t>(stream)>>>(probe);
    return static_cast<int>(cudaGetLastError());
}

int launch_empty(void* stream) {
    empty_kernel<<<1, 32, 0, static_cast<cudaStream_t>(stream)>>>();
    return cudaGetLastError();
}

}  // namespace vigil::device::cuda
