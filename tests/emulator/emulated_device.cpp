#include "tests/emulator/emulated_device.h"

#include <atomic>
#include <exception>
#include <thread>
#include <utility>

#include "host/grid_plan.h"
#include "tests/emulator/grid.h"

namespace vigil::emulator {
namespace {

using host::Device;
using host::DeviceError;

constexpr std::int32_t kSharedBytes = 232448;  // of an H200's block

// Memory is the CPU's, whose Device hands it out.
class EmulatedDevice final : public Device {
   public:
    explicit EmulatedDevice(int multiprocessors)
        : memory_(host::make_cpu_device(1)),
          limits_{multiprocessors, kSharedBytes, device::cuda::kThreadsPerBlock},
          info_(memory_->info()) {
        info_.name = "emulator";
        info_.architecture = "sm_90";
        info_.multiprocessors = multiprocessors;
    }
    ~EmulatedDevice() override { join(); }

    const host::DeviceInfo& info() const override { return info_; }
    void* allocate(std::size_t bytes) override { return memory_->allocate(bytes); }
    void release(void* memory) override { memory_->release(memory); }
    void* allocate_pinned(std::size_t bytes) override { return memory_->allocate_pinned(bytes); }
    void release_pinned(void* memory) override { memory_->release_pinned(memory); }
    void upload(void* to, const void* from, std::size_t bytes) override { memory_->upload(to, from, bytes); }
    void flush_uploads() override {}
    void download(void* to, const void* from, std::size_t bytes) override { memory_->download(to, from, bytes); }

    device::GridPlan plan(const device::ModelConfig& config, int n_blocks) override {
        if (config.stream.dim == 0) throw DeviceError("the emulator runs models in tiles only");
        return host::plan_gpu_stream(config, limits_, n_blocks);
    }
    bool streams(const device::ModelConfig& config) override { return config.stream.dim != 0; }

    void launch_resident(const device::KernelArgs& args) override {
        join();
        args.sync->arrivals = 0;
        resident_ = true;
        kernel_ = std::thread([this, args] {
            try {
                run_resident(args);
            } catch (...) {
                error_ = std::current_exception();
            }
            resident_ = false;
        });
    }
    bool resident() override {
        if (!resident_) join();
        return resident_;
    }
    bool wait_parked(std::chrono::milliseconds timeout) override {
        const auto give_up = std::chrono::steady_clock::now() + timeout;
        while (resident()) {
            if (std::chrono::steady_clock::now() > give_up) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return true;
    }
    void run_token(const device::KernelArgs& args, host::Dispatch) override {
        for (std::int32_t step = 0; step < device::n_steps(args.config); ++step) run_step(args, step);
    }
    void run_step(const device::KernelArgs& args, std::int32_t step) override {
        emulator::run_step(args, device::step_at(args.config, step));
    }
    void run_prefill(const device::PrefillChunk&, std::span<const device::PrefillStep>) override {
        throw DeviceError("the emulator has no prefill");
    }
    void* launch_stream() override { return nullptr; }
    void synchronize() override {}

   private:
    // Throws what the kernel ended with.
    void join() {
        if (kernel_.joinable()) kernel_.join();
        if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    }

    std::unique_ptr<Device> memory_;
    host::GpuLimits limits_;
    host::DeviceInfo info_;
    std::thread kernel_;
    std::atomic<bool> resident_{false};
    std::exception_ptr error_;
};

}  // namespace

std::unique_ptr<host::Device> make_emulated_device(int multiprocessors) {
    return std::make_unique<EmulatedDevice>(multiprocessors);
}

}  // namespace vigil::emulator
