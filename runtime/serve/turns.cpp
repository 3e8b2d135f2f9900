#include "runtime/serve/turns.h"

namespace vigil::serve {

bool Turns::take() {
    if (taken_ || !waiting_.empty()) return false;
    taken_ = true;
    return true;
}

std::optional<Turns::Turn> Turns::take_if_free() {
    const std::lock_guard lock(mutex_);
    if (!take()) return std::nullopt;
    return Turn(*this);
}

std::optional<Turns::Turn> Turns::wait(Cancellation& cancellation, std::chrono::steady_clock::time_point deadline,
                                       Queue queue) {
    Waiter me;
    std::list<Waiter*>::iterator place;
    {
        const std::lock_guard lock(mutex_);
        if (take()) return Turn(*this);
        if (queue == Queue::bounded && waiting_.size() >= capacity_) throw QueueFull();
        place = waiting_.insert(waiting_.end(), &me);
    }
    // Its action takes the mutex, so it is neither made nor dropped while that is held.
    const Cancellation::Scope wakes(cancellation, [&] {
        const std::lock_guard lock(mutex_);
        me.woken.notify_one();
    });
    std::unique_lock lock(mutex_);
    me.woken.wait_until(lock, deadline, [&] { return me.has_turn || cancellation.requested(); });
    if (me.has_turn) return Turn(*this);
    waiting_.erase(place);
    lock.unlock();
    return std::nullopt;
}

void Turns::end() {
    const std::lock_guard lock(mutex_);
    taken_ = !waiting_.empty();
    if (!taken_) return;
    Waiter& next = *waiting_.front();
    waiting_.pop_front();
    next.has_turn = true;
    next.woken.notify_one();
}

std::size_t Turns::waiting() const {
    const std::lock_guard lock(mutex_);
    return waiting_.size();
}

bool Turns::busy() const {
    const std::lock_guard lock(mutex_);
    return taken_;
}

}  // namespace vigil::serve
