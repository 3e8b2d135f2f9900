// Hangs on purpose: who waited for what is said, and the engine can go on.
#include <atomic>
#include <chrono>
#include <doctest/doctest.h>
#include <thread>
#include <vector>

#include "tests/patience.h"
#include "tests/reference/skip.h"
#include "tests/reference/test_device.h"
#include "tests/runtime/engine_fixture.h"

using namespace vigil;
using namespace vigil::test;
using namespace std::chrono_literals;

namespace {

// What goes wrong with the kernel on a FaultyDevice. Shared by the test and the device inside the engine.
struct Faults {
    std::atomic<int> missing_block{-1};      // of every launch from now on
    std::atomic<bool> fail_launches{false};  // DeviceError
    std::atomic<bool> never_leaves{false};   // the device says so
};

// A CPU device whose grid may lack a block. With all blocks there it is the device inside.
class FaultyDevice final : public host::Device {
   public:
    explicit FaultyDevice(std::shared_ptr<Faults> faults)
        : inner_(host::make_cpu_device(2)), faults_(std::move(faults)) {}
    ~FaultyDevice() override { join(); }

    const host::DeviceInfo& info() const override { return inner_->info(); }
    void* allocate(std::size_t bytes) override { return inner_->allocate(bytes); }
    void release(void* memory) override { inner_->release(memory); }
    void* allocate_pinned(std::size_t bytes) override { return inner_->allocate_pinned(bytes); }
    void release_pinned(void* memory) override { inner_->release_pinned(memory); }
    void upload(void* to, const void* from, std::size_t bytes) override { inner_->upload(to, from, bytes); }
    void flush_uploads() override { inner_->flush_uploads(); }
    void download(void* to, const void* from, std::size_t bytes) override { inner_->download(to, from, bytes); }
    device::GridPlan plan(const device::ModelConfig& config, int n_blocks) override {
        return inner_->plan(config, n_blocks);
    }
    void launch_resident(const device::KernelArgs& args) override {
        if (faults_->fail_launches) throw host::DeviceError("launch of the resident kernel: out of luck");
        const int missing = faults_->missing_block;
        if (missing < 0) return inner_->launch_resident(args);
        join();
        ring::store_relaxed(&args.sync->arrivals, 0u);
        for (int block = 0; block < args.plan.n_blocks; ++block) {
            if (block == missing) continue;
            ++running_;
            threads_.emplace_back([this, args, block] {
                const auto bytes = static_cast<std::size_t>(args.plan.shared_bytes);
                void* scratch = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
                device::cpu::run_resident(args, block, scratch);
                std::free(scratch);
                --running_;
            });
        }
    }
    bool resident() override { return faults_->never_leaves || running_ > 0 || inner_->resident(); }
    bool wait_parked(std::chrono::milliseconds timeout) override {
        const auto give_up = std::chrono::steady_clock::now() + timeout;
        while (running_ > 0 || faults_->never_leaves) {
            if (std::chrono::steady_clock::now() > give_up) return false;
            std::this_thread::sleep_for(1ms);
        }
        return inner_->wait_parked(timeout);
    }
    void run_token(const device::KernelArgs& args, Dispatch dispatch) override {
        if (faults_->fail_launches) throw host::DeviceError("launch of a step: out of luck");
        inner_->run_token(args, dispatch);
    }
    void run_step(const device::KernelArgs& args, std::int32_t step) override { inner_->run_step(args, step); }
    void run_prefill(const device::PrefillChunk& chunk, std::span<const device::PrefillStep> steps) override {
        inner_->run_prefill(chunk, steps);
    }
    void* launch_stream() override { return inner_->launch_stream(); }
    void synchronize() override { inner_->synchronize(); }

   private:
    void join() {
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

    std::unique_ptr<host::Device> inner_;
    std::shared_ptr<Faults> faults_;
    std::vector<std::thread> threads_;
    std::atomic<int> running_{0};
};

struct Subject {
    explicit Subject(Dispatch dispatch = Dispatch::persistent, std::chrono::milliseconds deadline = 800ms)
        : faults(std::make_shared<Faults>()), engine(make(dispatch, deadline)) {}
    Engine make(Dispatch dispatch, std::chrono::milliseconds deadline) const {
        if (reference::on_cuda()) reference::skip_program("hangs are provoked on the CPU device only");
        EngineOptions with = options();
        with.dispatch = dispatch;
        with.deadline = deadline;
        with.idle_park = 200ms;
        with.lease = 2s;
        return Engine::load(model_path(), with, std::make_unique<FaultyDevice>(faults));
    }
    std::shared_ptr<Faults> faults;
    Engine engine;
};

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a grid with a block missing is reported, and the next request runs on a whole one") {
    for (const int missing : {1, 0}) {
        CAPTURE(missing);
        Subject subject;
        const std::vector<Token> expected = run(subject.engine, greedy_anew(prompt(20), 8)).tokens;
        REQUIRE(expected.size() == 8);
        subject.faults->missing_block = missing;
        const auto begin = std::chrono::steady_clock::now();
        // Prefill parks the kernel, so the next launch lacks the block.
        Generation hanging = subject.engine.submit(greedy_anew(prompt(20), 8));
        const Outcome got = collect(hanging);
        CHECK(std::chrono::steady_clock::now() - begin < kSlowdown * 10s);
        CHECK(got.reason == FinishReason::kFault);
        CHECK(contains(got.error,
                       "block " + std::to_string(1 - missing) + " waited for 2 arrivals in phase arrival: 1 seen"));
        CHECK(got.tokens.empty());

        subject.faults->missing_block = -1;
        for (int i = 0; i < 3; ++i) CHECK(run(subject.engine, greedy_anew(prompt(20), 8)).tokens == expected);
        CHECK(run(subject.engine, greedy(prompt(4), 8)).reason == FinishReason::kLength);
    }
}

TEST_CASE("all generations under way end with the fault, those that come later run") {
    Subject subject;
    subject.engine.park();
    subject.faults->missing_block = 1;
    std::vector<Generation> generations;
    for (int i = 0; i < 3; ++i) generations.push_back(subject.engine.submit(greedy(prompt(4), 8)));
    int faulted = 0;
    for (Generation& generation : generations) faulted += collect(generation).reason == FinishReason::kFault;
    CHECK(faulted == 3);
    subject.faults->missing_block = -1;
    const Outcome after = run(subject.engine, greedy(prompt(4), 8));
    CHECK(after.tokens.size() == 8);
    CHECK(after.statistics.reused_tokens == 0);  // what the fault left in the KV cache is not trusted
}

TEST_CASE("a device that fails to launch ends the generation and refuses those after") {
    for (const Dispatch dispatch : {Dispatch::persistent, Dispatch::launch}) {
        Subject subject(dispatch);
        CHECK(run(subject.engine, greedy_anew(prompt(20), 8)).tokens.size() == 8);
        subject.faults->fail_launches = true;
        for (int i = 0; i < 2; ++i) {
            const Outcome got = run(subject.engine, greedy_anew(prompt(20), 8));
            CHECK(got.reason == FinishReason::kFault);
            CHECK(contains(got.error, "out of luck"));
        }
    }
}

TEST_CASE("a kernel that does not leave is given up after a bounded time, also by the destructor") {
    const auto begin = std::chrono::steady_clock::now();
    {
        Subject subject;
        run(subject.engine, greedy(prompt(4), 8));
        subject.faults->never_leaves = true;
        const Outcome got = run(subject.engine, greedy_anew(prompt(20), 8));
        CHECK(got.reason == FinishReason::kFault);
        CHECK(contains(got.error, "did not park within 3200 ms"));
        CHECK(run(subject.engine, greedy(prompt(4), 8)).reason == FinishReason::kFault);
        CHECK_THROWS_AS(subject.engine.park(), host::DeviceError);
        subject.faults->never_leaves = false;
    }
    CHECK(std::chrono::steady_clock::now() - begin < kSlowdown * 20s);
}

TEST_CASE("a kernel that is resident but silent is given up") {
    Subject subject;
    run(subject.engine, greedy(prompt(4), 8));
    // It parks itself when idle, but the device never says that it has left.
    subject.faults->never_leaves = true;
    std::this_thread::sleep_for(500ms);
    const Outcome got = run(subject.engine, greedy(prompt(4), 8));
    CHECK(got.reason == FinishReason::kFault);
    CHECK(contains(got.error, "the kernel said that it leaves"));
    subject.faults->never_leaves = false;
}
