// The threads that serve connections: made when needed, kept for the next connection, gone after a while of idleness.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <httplib.h>
#include <mutex>

namespace vigil::serve {

class ConnectionThreads final : public httplib::TaskQueue {
   public:
    // With `most` threads at work, further connections wait.
    explicit ConnectionThreads(std::size_t most) : most_(most) {}
    ~ConnectionThreads() override = default;

    void enqueue(std::function<void()> serve) override;
    // Returns when all that was enqueued is done and no thread is left.
    void shutdown() override;

   private:
    void work();

    const std::size_t most_;
    std::mutex mutex_;  // of all below
    std::condition_variable changed_;
    std::condition_variable empty_;
    std::deque<std::function<void()>> waiting_;
    std::size_t threads_ = 0;
    std::size_t idle_ = 0;
    bool stopping_ = false;
};

}  // namespace vigil::serve
