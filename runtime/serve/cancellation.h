// Why a request should end before its time, told from any thread to whatever it is waiting for just now.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

namespace vigil::serve {

class Cancellation {
   public:
    enum class Why { none, client_gone, shutting_down, time_limit };

    // Only the first reason counts.
    void request(Why why);
    Why why() const noexcept { return why_; }
    bool requested() const noexcept { return why_ != Why::none; }

    // While it lives, a request for cancellation does `action`, on the thread that makes it; at once if it came before.
    class Scope {
       public:
        Scope(Cancellation& cancellation, std::function<void()> action);
        ~Scope();  // returns when the action runs no more
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

       private:
        Cancellation& cancellation_;
    };

   private:
    std::atomic<Why> why_{Why::none};
    std::mutex mutex_;  // of action_, and held while it runs
    std::function<void()> action_;
};

}  // namespace vigil::serve
