#include "host/cpu/block_pool.h"

#include <fmt/format.h>
#include <new>
#include <system_error>

#include "host/device.h"

namespace vigil::host {
namespace {

constexpr std::size_t kScratchAlignment = 128;
// A short spin costs a busy machine little; on a quiet one yielding returns at once and spins on, for about 50 µs:
// longer than a step of a small model, so that its barriers need no system call that sleeps.
constexpr int kSpins = 300;
constexpr int kYields = 200;
// With more blocks than cores the one we wait for may need this very core.
constexpr int kSpinsOversubscribed = 20;

struct FreeAligned {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{kScratchAlignment}); }
};
using Scratch = std::unique_ptr<std::byte[], FreeAligned>;

Scratch make_scratch(std::size_t bytes) {
    return Scratch(new (std::align_val_t{kScratchAlignment}) std::byte[bytes == 0 ? 1 : bytes]());
}

}  // namespace

void Gate::open() {
    {
        // The lock keeps the wake-up from falling between a sleeper's last look and its sleep.
        const std::lock_guard lock(mutex_);
        value_.store(value_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }
    moved_.notify_all();
}

void Gate::await(std::uint32_t seen, int spins) {
    for (int i = 0; i < spins; ++i) {
        if (value() != seen) return;
        __builtin_ia32_pause();
    }
    for (int i = 0; i < kYields; ++i) {
        if (value() != seen) return;
        std::this_thread::yield();
    }
    std::unique_lock lock(mutex_);
    moved_.wait(lock, [&] { return value() != seen; });
}

bool Gate::await_for(std::uint32_t seen, std::chrono::nanoseconds timeout) {
    std::unique_lock lock(mutex_);
    return moved_.wait_for(lock, timeout, [&] { return value() != seen; });
}

struct BlockPool::State {
    std::int32_t n_blocks;
    std::size_t scratch_bytes;
    int spins;
    std::vector<Scratch> scratch;

    // Writer: the thread that calls start(), before it opens `begin`.
    std::int32_t n_steps = 0;
    Body body;
    bool leaving = false;

    Gate begin;                            // of a job
    Gate next_step;                        // opened by the last block of a step
    Gate done;                             // opened by the last block of the last step
    std::atomic<std::int32_t> arrived{0};  // blocks that have returned from the step
    std::atomic<bool> busy{false};

    // True in the last of the blocks to call it for a step. Ordered both ways.
    bool arrive_last() {
        if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 != n_blocks) return false;
        arrived.store(0, std::memory_order_relaxed);  // the opening of a gate follows and publishes it
        return true;
    }
};

void BlockPool::work(const std::shared_ptr<State>& state, std::int32_t block) {
    State& s = *state;
    void* scratch = s.scratch[static_cast<std::size_t>(block)].get();
    for (std::uint32_t job = 0;; ++job) {
        s.begin.await(job, s.spins);
        if (s.leaving) return;
        for (std::int32_t step = 0; step < s.n_steps; ++step) {
            const std::uint32_t seen = s.next_step.value();  // before arriving: it moves once all have arrived
            s.body(step, block, scratch);
            const bool last_step = step + 1 == s.n_steps;
            if (!s.arrive_last()) {
                if (!last_step) s.next_step.await(seen, s.spins);
            } else if (!last_step) {
                s.next_step.open();
            } else {
                s.busy.store(false, std::memory_order_release);  // pairs with the load in busy()
                s.done.open();
            }
            // After the last arrival of a job its fields belong to the starter again.
            if (last_step) break;
        }
    }
}

BlockPool::BlockPool(std::int32_t n_blocks, std::size_t scratch_bytes) : state_(std::make_shared<State>()) {
    state_->n_blocks = n_blocks;
    state_->scratch_bytes = scratch_bytes;
    const unsigned cores = std::thread::hardware_concurrency();
    state_->spins = static_cast<unsigned>(n_blocks) <= cores ? kSpins : kSpinsOversubscribed;
    for (std::int32_t block = 0; block < n_blocks; ++block) state_->scratch.push_back(make_scratch(scratch_bytes));
    try {
        for (std::int32_t block = 0; block < n_blocks; ++block) threads_.emplace_back(&BlockPool::work, state_, block);
    } catch (const std::system_error& e) {
        stop(std::chrono::seconds(1));
        throw DeviceError(
            fmt::format("the system gave {} of {} threads: {}; ask for fewer", threads_.size(), n_blocks, e.what()));
    }
}

BlockPool::~BlockPool() {
    if (threads_.empty()) return;
    wait();
    stop(std::chrono::nanoseconds::zero());
}

std::int32_t BlockPool::n_blocks() const noexcept {
    return state_->n_blocks;
}
std::size_t BlockPool::scratch_bytes() const noexcept {
    return state_->scratch_bytes;
}

void BlockPool::start(std::int32_t n_steps, Body body) {
    if (busy()) throw DeviceError("the CPU's threads are still at work on the job before");
    if (n_steps <= 0) return;
    state_->n_steps = n_steps;
    state_->body = std::move(body);
    state_->busy.store(true, std::memory_order_relaxed);
    state_->begin.open();
}

// Pairs with the release in work(): who sees the job ended sees all it wrote.
bool BlockPool::busy() const noexcept {
    return state_->busy.load(std::memory_order_acquire);
}

bool BlockPool::wait(std::chrono::nanoseconds timeout) {
    const auto give_up = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        const std::uint32_t seen = state_->done.value();
        if (!busy()) return true;
        const auto left = give_up - std::chrono::steady_clock::now();
        if (left <= left.zero()) return false;
        state_->done.await_for(seen, left);
    }
}

void BlockPool::wait() {
    for (;;) {
        const std::uint32_t seen = state_->done.value();
        if (!busy()) return;
        state_->done.await(seen, state_->spins);
    }
}

bool BlockPool::stop(std::chrono::nanoseconds timeout) {
    const bool ended = wait(timeout);
    if (ended) {
        state_->leaving = true;
        state_->begin.open();
    }
    for (std::thread& t : threads_) ended ? t.join() : t.detach();
    threads_.clear();
    return ended;
}

}  // namespace vigil::host
