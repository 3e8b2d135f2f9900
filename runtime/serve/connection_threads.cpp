#include "runtime/serve/connection_threads.h"

#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

namespace vigil::serve {
namespace {

constexpr std::chrono::seconds kIdle{10};

}  // namespace

void ConnectionThreads::enqueue(std::function<void()> serve) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(serve));
    if (idle_ < waiting_.size() && threads_ < most_) {
        try {
            // Not joined but counted: shutdown() waits for the count.
            std::thread(&ConnectionThreads::work, this).detach();
            ++threads_;
        } catch (const std::system_error&) {
            // The system has no more: the connection waits for a thread that is there.
        }
    }
    changed_.notify_one();
}

void ConnectionThreads::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        ++idle_;
        changed_.wait_for(lock, kIdle, [&] { return !waiting_.empty() || stopping_; });
        --idle_;
        if (waiting_.empty()) break;
        const std::function<void()> serve = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        serve();
        lock.lock();
    }
    --threads_;
    // With the lock held: whoever waits for this may destroy it right after.
    empty_.notify_all();
}

void ConnectionThreads::shutdown() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    empty_.wait(lock, [&] { return threads_ == 0; });
}

}  // namespace vigil::serve
