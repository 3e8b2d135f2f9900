// One GPU as a device. Three streams: the resident kernel's, one for uploads, one for ordinary launches.
//
// While the kernel is resident nothing here makes a CUDA call that may wait for it: allocations are refused, releases
// are put off, and the kernel's end is seen by asking an event.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fmt/format.h>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_map>

#include "host/cuda/handles.h"
#include "host/cuda/properties.h"
#include "host/cuda/staging.h"
#include "host/cuda/token_graph.h"
#include "host/gpu_architecture.h"
#include "host/grid_plan.h"

namespace vigil::host {
namespace cuda {
namespace {

constexpr std::chrono::seconds kExitTimeout{10};

class CudaDevice final : public Device {
   public:
    explicit CudaDevice(int index);
    ~CudaDevice() override;

    const DeviceInfo& info() const override { return info_; }
    void* allocate(std::size_t bytes) override;
    void release(void* memory) override;
    void* allocate_pinned(std::size_t bytes) override;
    void release_pinned(void* memory) override;
    void upload(void* to, const void* from, std::size_t bytes) override;
    void flush_uploads() override;
    void download(void* to, const void* from, std::size_t bytes) override;
    device::GridPlan plan(const device::ModelConfig& config, int n_blocks) override;
    bool streams(const device::ModelConfig& config) override;
    void launch_resident(const device::KernelArgs& args) override;
    bool resident() override;
    bool wait_parked(std::chrono::milliseconds timeout) override;
    void run_token(const device::KernelArgs& args, Dispatch dispatch) override;
    void run_step(const device::KernelArgs& args, std::int32_t step) override;
    void run_prefill(const device::PrefillChunk& chunk, std::span<const device::PrefillStep> steps) override;
    void* launch_stream() override;
    void synchronize() override;

   private:
    // Everything that CUDA owns. Left in place, never freed, if the kernel would not leave.
    struct Parts {
        Stream resident{Stream::Priority::highest};
        Stream uploads{Stream::Priority::normal};
        Stream launches{Stream::Priority::normal};
        Event launched;  // on `launches`: what the resident kernel must come after
        Event parked;    // on `resident`: after the kernel
        Staging staging{uploads};
        TokenGraph token_graph;
        std::unordered_map<void*, DeviceBuffer> device_memory;
        std::unordered_map<void*, PinnedBuffer> pinned_memory;
    };

    // CUDA remembers the current GPU per thread.
    void make_current() const { check(cudaSetDevice(info_.index), "cudaSetDevice"); }
    void require_parked(const char* action);
    void refresh_free_bytes();
    // Tells a kernel that nobody tells anything any more to leave.
    void abort_kernel();

    DeviceInfo info_;
    GpuLimits limits_;
    std::unique_ptr<Parts> parts_;
    std::mutex mutex_;  // of the two maps of memory and info_.free_bytes
    std::atomic<bool> resident_{false};
    std::uint32_t* abort_ = nullptr;
};

// Throws DeviceError if the GPU lacks what vigil needs.
void require_usable(const Properties& p, int index) {
    const auto fail = [&](const std::string& what) {
        throw DeviceError(fmt::format("GPU {} ({}, {}): {}", index, p.name, p.architecture(), what));
    };
    if (p.prohibited) fail("its compute mode is 'prohibited'; set it to default with: nvidia-smi -c DEFAULT");
    if (!p.can_map_host_memory || !p.unified_addressing) fail("it can't use host memory at the host's addresses");
    if (!runs_on(device::cuda::architectures(), p.major, p.minor))
        fail(fmt::format("this binary carries code for {}; {}", device::cuda::architectures(),
                         p.major < 7 || (p.major == 7 && p.minor < 5)
                             ? "build with CUDA 11.8 for older GPUs: scripts/build.sh m40"
                             : "build with a CUDA toolkit that knows this GPU: scripts/build.sh"));
}

CudaDevice::CudaDevice(int index) {
    const int count = cuda_device_count();
    if (index < 0 || index >= count)
        throw DeviceError(count == 0
                              ? std::string("no CUDA device found; `vigil doctor` says why, --device cpu works without")
                              : fmt::format("there is no GPU {}; GPUs are numbered from 0 to {}", index, count - 1));
    const Properties p = read_properties(index);
    require_usable(p, index);
    info_.name = p.name;
    info_.architecture = p.architecture();
    info_.is_cuda = true;
    info_.index = index;
    info_.multiprocessors = p.multiprocessors;
    info_.memory_bytes = p.memory_bytes;
    limits_ = {p.multiprocessors, p.shared_bytes_per_block, device::cuda::kThreadsPerBlock};
    make_current();
    refresh_free_bytes();
    parts_ = std::make_unique<Parts>();
}

CudaDevice::~CudaDevice() {
    try {
        if (resident()) {
            abort_kernel();
            if (!wait_parked(kExitTimeout)) {
                // Freeing anything would wait for the kernel, for ever.
                std::fprintf(stderr,
                             "vigil: the kernel on GPU %d did not leave within %lld s; its memory is not freed\n",
                             info_.index, static_cast<long long>(kExitTimeout.count()));
                static_cast<void>(parts_.release());
            }
        }
        make_current();
    } catch (const DeviceError& e) {
        // After a failed kernel every CUDA call fails; the handles' destructors ignore that.
        std::fprintf(stderr, "vigil: %s\n", e.what());
    }
}

void CudaDevice::require_parked(const char* action) {
    if (resident())
        throw DeviceError(fmt::format("{} while the kernel is resident would wait for it; park it first", action));
    make_current();
}

void CudaDevice::refresh_free_bytes() {
    std::size_t total = 0;
    check(cudaMemGetInfo(&info_.free_bytes, &total), "cudaMemGetInfo");
}

void* CudaDevice::allocate(std::size_t bytes) {
    require_parked("an allocation");
    const std::lock_guard lock(mutex_);
    DeviceBuffer buffer(bytes, parts_->uploads);
    void* memory = buffer.get();
    parts_->device_memory.emplace(memory, std::move(buffer));
    refresh_free_bytes();
    return memory;
}

void CudaDevice::release(void* memory) {
    const std::lock_guard lock(mutex_);
    if (memory == nullptr || resident()) return;  // the destructor frees it
    make_current();
    parts_->device_memory.erase(memory);
    refresh_free_bytes();
}

void* CudaDevice::allocate_pinned(std::size_t bytes) {
    require_parked("an allocation of page-locked memory");
    const std::lock_guard lock(mutex_);
    PinnedBuffer buffer(bytes);
    void* memory = buffer.get();
    parts_->pinned_memory.emplace(memory, std::move(buffer));
    return memory;
}

void CudaDevice::release_pinned(void* memory) {
    const std::lock_guard lock(mutex_);
    if (memory == nullptr || resident()) return;
    make_current();
    parts_->pinned_memory.erase(memory);
}

void CudaDevice::upload(void* to, const void* from, std::size_t bytes) {
    make_current();
    parts_->staging.upload(to, from, bytes);
}

void CudaDevice::flush_uploads() {
    make_current();
    parts_->uploads.synchronize();
}

void CudaDevice::download(void* to, const void* from, std::size_t bytes) {
    synchronize();
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, parts_->uploads.get()),
          "cudaMemcpyAsync to the host");
    parts_->uploads.synchronize();
}

device::GridPlan CudaDevice::plan(const device::ModelConfig& config, int n_blocks) {
    require_parked("planning");
    const device::SharedNeed need = device::shared_need(config, limits_.n_threads / 32);
    const device::GridPlan plan =
        config.stream.dim != 0 ? plan_gpu_stream(config, limits_, n_blocks) : plan_gpu(config, need, limits_, n_blocks);
    check(device::cuda::prepare(plan), "loading the kernels");
    check(device::cuda::prepare_prefill(), "loading the prefill kernels");
    std::int32_t per_multiprocessor = 0;
    check(device::cuda::max_blocks_per_sm(plan, &per_multiprocessor), "asking for the kernel's occupancy");
    if (per_multiprocessor < 1)
        throw DeviceError(
            fmt::format("a block of {} threads with {} bytes of shared memory does not fit on a "
                        "multiprocessor of {} (it offers {} bytes)",
                        plan.n_threads, plan.shared_bytes, info_.name, limits_.shared_bytes_per_block));
    return plan;
}

bool CudaDevice::streams(const device::ModelConfig& config) {
    if (info_.architecture != "sm_90" || !device::cuda::has_stream()) return false;
    // For tests and comparisons.
    const char* wanted = std::getenv("VIGIL_TILES");
    if (wanted != nullptr && std::string_view(wanted) == "never") return false;
    try {
        plan_gpu_stream(config, limits_, 0);
        return true;
    } catch (const DeviceError&) {
        return false;
    }
}

void CudaDevice::launch_resident(const device::KernelArgs& args) {
    require_parked("a second launch");
    parts_->launched.record(parts_->launches);
    check(cudaStreamWaitEvent(parts_->resident.get(), parts_->launched.get(), 0), "cudaStreamWaitEvent");
    check(cudaMemsetAsync(&args.sync->arrivals, 0, sizeof args.sync->arrivals, parts_->resident.get()),
          "cudaMemsetAsync of the grid barrier");
    check(device::cuda::launch_resident(args, parts_->resident.get()), "launch of the resident kernel");
    abort_ = &args.sync->abort;
    resident_ = true;  // from here on it may run, whatever else fails
    parts_->parked.record(parts_->resident);
}

bool CudaDevice::resident() {
    if (!resident_) return false;
    make_current();
    try {
        if (!parts_->parked.reached()) return true;
    } catch (const DeviceError&) {
        resident_ = false;  // it ended, if badly
        throw;
    }
    resident_ = false;
    return false;
}

bool CudaDevice::wait_parked(std::chrono::milliseconds timeout) {
    const auto begin = std::chrono::steady_clock::now();
    constexpr std::chrono::microseconds kLeavesSoon{50};  // a parked kernel is usually gone by then
    for (auto nap = std::chrono::microseconds(10); resident();) {
        const auto waited = std::chrono::steady_clock::now() - begin;
        if (waited >= timeout) return false;
        if (waited < kLeavesSoon) continue;
        std::this_thread::sleep_for(nap);
        nap = std::min(2 * nap, std::chrono::microseconds(1000));
    }
    return true;
}

void CudaDevice::abort_kernel() {
    const std::uint32_t one = 1;
    // A copy needs no multiprocessor, which the kernel has all of.
    parts_->staging.upload(abort_, &one, sizeof one);
}

void CudaDevice::run_token(const device::KernelArgs& args, Dispatch dispatch) {
    require_parked("an ordinary launch");
    switch (dispatch) {
        case Dispatch::graph:
            parts_->token_graph.launch(args, parts_->launches);
            return;
        case Dispatch::launch:
            for (std::int32_t step = 0; step < device::n_steps(args.config); ++step)
                launch_step(args, step, parts_->launches);
            return;
        case Dispatch::persistent:
            break;
    }
    throw DeviceError("run_token is for graph and launch dispatch");
}

void CudaDevice::run_step(const device::KernelArgs& args, std::int32_t step) {
    require_parked("an ordinary launch");
    launch_step(args, step, parts_->launches);
}

void CudaDevice::run_prefill(const device::PrefillChunk& chunk, std::span<const device::PrefillStep> steps) {
    require_parked("prefill");
    for (const device::PrefillStep& step : steps)
        check(device::cuda::launch_prefill(chunk, step, parts_->launches.get()), "launch of a prefill step");
}

void* CudaDevice::launch_stream() {
    make_current();
    return parts_->launches.get();
}

void CudaDevice::synchronize() {
    make_current();
    parts_->launches.synchronize();
}

}  // namespace

}  // namespace cuda

std::unique_ptr<Device> make_cuda_device(int index) {
    cuda::prepare_environment();
    return std::make_unique<cuda::CudaDevice>(index);
}

int cuda_device_count() noexcept {
    cuda::prepare_environment();
    int count = 0;
    if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
    cudaGetLastError();  // no driver, or none that is new enough: no GPUs
    return 0;
}

}  // namespace vigil::host
