// Ctrl-C: the first asks the work under way to end, the second kills the program.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

namespace vigil::program {

// While it lives, SIGINT is taken by a thread of its own instead of a handler, so that the reaction may be any code.
// Make it before any other thread: they inherit that SIGINT is blocked.
class Interrupt {
   public:
    Interrupt();
    ~Interrupt();
    Interrupt(const Interrupt&) = delete;
    Interrupt& operator=(const Interrupt&) = delete;

    // What the first Ctrl-C does while the scope lives, at once if it has come already. Outside of the first scope it
    // ends the program with exit code 130; after it, it is only remembered.
    class Scope {
       public:
        Scope(Interrupt& interrupt, std::function<void()> action);
        ~Scope();  // returns when the action runs no more
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

       private:
        Interrupt& interrupt_;
    };

    bool interrupted() const noexcept { return interrupted_; }

   private:
    void watch();

    std::atomic<bool> interrupted_{false};
    std::atomic<bool> leaving_{false};
    std::mutex mutex_;  // of action_, and held while it runs
    std::function<void()> action_;
    std::thread thread_;
};

}  // namespace vigil::program
