// A fixed set of host threads that stand for the blocks of a grid, with a barrier between steps.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace vigil::host {

// A counter that threads wait on until it moves: a short spin, then a sleep.
class Gate {
   public:
    std::uint32_t value() const noexcept { return value_.load(std::memory_order_acquire); }
    // Moves on and wakes everyone. What the caller wrote before is visible to those who waited.
    void open();
    // Returns when the value is no longer `seen`. `spins`: how often to look before sleeping.
    void await(std::uint32_t seen, int spins);
    // The same with a deadline; false if it passes first.
    bool await_for(std::uint32_t seen, std::chrono::nanoseconds timeout);

   private:
    std::atomic<std::uint32_t> value_{0};
    std::mutex mutex_;
    std::condition_variable moved_;
};

// Runs `n_steps` steps on all blocks; every block of a step returns before the next step begins. One job at a time.
class BlockPool {
   public:
    // `scratch` is the block's own memory, `scratch_bytes` of it, aligned to 128 bytes; it keeps its contents.
    // Must not throw.
    using Body = std::function<void(std::int32_t step, std::int32_t block, void* scratch)>;

    // Throws DeviceError if the system gives no more threads.
    BlockPool(std::int32_t n_blocks, std::size_t scratch_bytes);
    // Waits for the job under way; call stop() first where it might not end.
    ~BlockPool();
    BlockPool(const BlockPool&) = delete;
    BlockPool& operator=(const BlockPool&) = delete;

    std::int32_t n_blocks() const noexcept;
    std::size_t scratch_bytes() const noexcept;

    // Hands the job to the threads and returns. The job before must have ended.
    void start(std::int32_t n_steps, Body body);
    // True until every block has returned from the last step. Never blocks.
    bool busy() const noexcept;
    // Waits for the end of the job; false if `timeout` passes first.
    bool wait(std::chrono::nanoseconds timeout);
    void wait();
    // Ends the threads once the job under way has ended. False if it has not after `timeout`: the threads are then left
    // to themselves, and whatever the body uses must stay in place for ever.
    bool stop(std::chrono::nanoseconds timeout);

   private:
    struct State;
    static void work(const std::shared_ptr<State>& state, std::int32_t block);
    std::shared_ptr<State> state_;  // shared with the threads, which may outlive the pool
    std::vector<std::thread> threads_;
};

}  // namespace vigil::host
