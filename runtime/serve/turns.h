// Whose generation runs: one at a time, in the order of asking, and only so many waiting.
//
// A connection asks for one turn at a time, and one for each prompt of a request that has several. So connections that
// want something get their turns round about, whatever the one before wants next.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <utility>

#include "runtime/serve/cancellation.h"

namespace vigil::serve {

class Turns {
   public:
    // `capacity`: how many may wait beside the one whose turn it is.
    explicit Turns(std::size_t capacity) : capacity_(capacity) {}

    // Held while it is one's turn. Movable; destroying it gives the turn to the next.
    class Turn {
       public:
        explicit Turn(Turns& turns) : turns_(&turns) {}
        Turn(Turn&& other) noexcept : turns_(std::exchange(other.turns_, nullptr)) {}
        Turn& operator=(Turn&&) = delete;
        ~Turn() {
            if (turns_ != nullptr) turns_->end();
        }

       private:
        Turns* turns_;
    };

    // Nothing if it is somebody else's turn, or others wait.
    std::optional<Turn> take_if_free();

    enum class Queue { bounded, keep_place };  // keep_place: a request that was let in asks for its next turn
    // Waits for its turn; nothing if `cancellation` or `deadline` came first. Throws QueueFull at once if too many wait
    // already.
    std::optional<Turn> wait(Cancellation& cancellation, std::chrono::steady_clock::time_point deadline,
                             Queue queue = Queue::bounded);

    std::size_t waiting() const;
    bool busy() const;
    std::size_t capacity() const noexcept { return capacity_; }

   private:
    struct Waiter {
        std::condition_variable woken;
        bool has_turn = false;
    };

    bool take();  // with mutex_ held
    void end();

    const std::size_t capacity_;
    mutable std::mutex mutex_;  // of all below
    bool taken_ = false;
    std::list<Waiter*> waiting_;
};

class QueueFull {};

}  // namespace vigil::serve
