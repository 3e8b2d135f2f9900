#include "runtime/serve/service.h"

namespace vigil::serve {

Requests::Entry::Entry(Requests& requests, Cancellation& cancellation)
    : requests_(requests), cancellation_(cancellation) {
    const std::lock_guard lock(requests_.mutex_);
    requests_.entries_.insert(&cancellation_);
    if (requests_.ended_ != Cancellation::Why::none) cancellation_.request(requests_.ended_);
}

Requests::Entry::~Entry() {
    const std::lock_guard lock(requests_.mutex_);
    requests_.entries_.erase(&cancellation_);
}

void Requests::cancel_all(Cancellation::Why why) {
    const std::lock_guard lock(mutex_);
    ended_ = why;
    for (Cancellation* entry : entries_) entry->request(why);
}

std::size_t Requests::size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

}  // namespace vigil::serve
