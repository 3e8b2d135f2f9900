// The CPU as a device: every block of the grid is a host thread, and device memory is ordinary memory.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "host/cpu/block_pool.h"
#include "host/cpu/cpu_info.h"
#include "host/device.h"
#include "host/grid_plan.h"

namespace vigil::host {
namespace {

constexpr std::size_t kAlignment = 256;  // what a GPU gives; the synchronisation words want lines of 128
constexpr std::chrono::seconds kExitTimeout{10};

class CpuDevice final : public Device {
   public:
    explicit CpuDevice(int threads);
    ~CpuDevice() override;

    const DeviceInfo& info() const override { return info_; }
    void* allocate(std::size_t bytes) override;
    void release(void* memory) override;
    void* allocate_pinned(std::size_t bytes) override { return allocate(bytes); }
    void release_pinned(void* memory) override { release(memory); }
    void upload(void* to, const void* from, std::size_t bytes) override { std::memcpy(to, from, bytes); }
    void flush_uploads() override {}
    void download(void* to, const void* from, std::size_t bytes) override;
    device::GridPlan plan(const device::ModelConfig& config, int n_blocks) override;
    void launch_resident(const device::KernelArgs& args) override;
    bool resident() override { return resident_ && pool_->busy(); }
    bool wait_parked(std::chrono::milliseconds timeout) override { return !resident_ || pool_->wait(timeout); }
    void run_token(const device::KernelArgs& args, Dispatch dispatch) override;
    void run_step(const device::KernelArgs& args, std::int32_t step) override { start_steps(args, step, 1); }
    void run_prefill(const device::PrefillChunk& chunk, std::span<const device::PrefillStep> steps) override;
    void* launch_stream() override { return nullptr; }
    void synchronize() override;

   private:
    // The threads for this plan, each with at least `scratch_bytes`, once they are idle. Throws DeviceError while the
    // resident loop runs.
    BlockPool& idle_pool(const device::GridPlan& plan, std::size_t scratch_bytes);
    BlockPool& idle_pool(const device::GridPlan& plan) {
        return idle_pool(plan, static_cast<std::size_t>(plan.shared_bytes));
    }
    void start_steps(const device::KernelArgs& args, std::int32_t first, std::int32_t count);

    DeviceInfo info_;
    std::mutex mutex_;                              // of allocations_ and info_.free_bytes
    std::unordered_map<void*, void*> allocations_;  // aligned address → what calloc gave
    std::unique_ptr<BlockPool> pool_;
    std::atomic<bool> resident_{false};  // the pool's last job is the resident loop
    std::uint32_t* abort_ = nullptr;     // the last resident loop's word that makes it leave
};

CpuDevice::CpuDevice(int threads) {
    const MemoryInfo memory = read_memory_info();
    info_.name = cpu_name();
    info_.architecture = device::cpu::isa();
    info_.multiprocessors = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    info_.memory_bytes = memory.total_bytes;
    info_.free_bytes = memory.available_bytes;
}

CpuDevice::~CpuDevice() {
    if (resident()) ring::store_relaxed(abort_, 1u);
    if (pool_ && !pool_->stop(kExitTimeout)) {
        // Threads that run on still use the memory: better leaked than freed under them.
        std::fprintf(stderr,
                     "vigil: the CPU's threads did not leave the kernel within %lld s; their memory is not freed\n",
                     static_cast<long long>(kExitTimeout.count()));
        return;
    }
    for (const auto& [aligned, memory] : allocations_) std::free(memory);
}

// calloc's pages come zeroed from the system and are touched on first use only.
void* CpuDevice::allocate(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    info_.free_bytes = read_memory_info().available_bytes;
    // Linux would promise more than there is and kill the process later.
    void* memory = bytes <= info_.free_bytes ? std::calloc(1, bytes + kAlignment) : nullptr;
    if (memory == nullptr)
        throw DeviceError(fmt::format("can't allocate {} bytes ({} MiB): {} MiB of {} MiB are available", bytes,
                                      bytes >> 20, info_.free_bytes >> 20, info_.memory_bytes >> 20));
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    void* aligned = static_cast<std::byte*>(memory) + (kAlignment - address % kAlignment);
    allocations_.emplace(aligned, memory);
    return aligned;
}

void CpuDevice::release(void* memory) {
    const std::lock_guard lock(mutex_);
    const auto found = allocations_.find(memory);
    if (found == allocations_.end() || resident()) return;  // the destructor frees what the loop still uses
    std::free(found->second);
    allocations_.erase(found);
}

void CpuDevice::download(void* to, const void* from, std::size_t bytes) {
    synchronize();
    std::memcpy(to, from, bytes);
}

device::GridPlan CpuDevice::plan(const device::ModelConfig& config, int n_blocks) {
    return plan_cpu(config, device::shared_need(config, 1), info_.multiprocessors, n_blocks);
}

BlockPool& CpuDevice::idle_pool(const device::GridPlan& plan, std::size_t scratch_bytes) {
    if (resident()) throw DeviceError("the CPU's threads are in the resident kernel; park it first");
    if (pool_) pool_->wait();
    if (!pool_ || pool_->n_blocks() != plan.n_blocks || pool_->scratch_bytes() < scratch_bytes) {
        pool_.reset();
        pool_ = std::make_unique<BlockPool>(plan.n_blocks, scratch_bytes);
    }
    return *pool_;
}

void CpuDevice::launch_resident(const device::KernelArgs& args) {
    BlockPool& pool = idle_pool(args.plan);
    ring::store_relaxed(&args.sync->arrivals, 0u);
    abort_ = &args.sync->abort;
    resident_ = true;
    pool.start(1, [args](std::int32_t, std::int32_t block, void* scratch) {
        device::cpu::run_resident(args, block, scratch);
    });
}

void CpuDevice::start_steps(const device::KernelArgs& args, std::int32_t first, std::int32_t count) {
    BlockPool& pool = idle_pool(args.plan);
    resident_ = false;
    pool.start(count, [args, first](std::int32_t step, std::int32_t block, void* scratch) {
        device::cpu::run_step(args, first + step, block, scratch);
    });
}

// Both kinds of dispatch hand the threads the whole list of a token's steps at once: on the CPU recording it would
// change nothing.
void CpuDevice::run_token(const device::KernelArgs& args, Dispatch dispatch) {
    if (dispatch == Dispatch::persistent) throw DeviceError("run_token is for graph and launch dispatch");
    start_steps(args, 0, device::n_steps(args.config));
}

void CpuDevice::run_prefill(const device::PrefillChunk& chunk, std::span<const device::PrefillStep> steps) {
    BlockPool& pool = idle_pool(chunk.model.plan, device::cpu::prefill_scratch_bytes(chunk.model.config));
    resident_ = false;
    pool.start(static_cast<std::int32_t>(steps.size()),
               [chunk, steps = std::vector(steps.begin(), steps.end()), n_blocks = pool.n_blocks()](
                   std::int32_t step, std::int32_t block, void* scratch) {
                   device::cpu::run_prefill(chunk, steps[static_cast<std::size_t>(step)], block, n_blocks, scratch);
               });
}

void CpuDevice::synchronize() {
    if (pool_ && !resident()) pool_->wait();
}

}  // namespace

std::unique_ptr<Device> make_cpu_device(int cpu_threads) {
    if (cpu_threads < 0) throw DeviceError(fmt::format("{} CPU threads asked for", cpu_threads));
    return std::make_unique<CpuDevice>(cpu_threads);
}

}  // namespace vigil::host
