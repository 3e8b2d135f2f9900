#include "runtime/serve/cancellation.h"

#include <utility>

namespace vigil::serve {

void Cancellation::request(Why why) {
    auto none = Why::none;
    if (!why_.compare_exchange_strong(none, why)) return;
    const std::lock_guard lock(mutex_);
    if (action_) action_();
}

Cancellation::Scope::Scope(Cancellation& cancellation, std::function<void()> action) : cancellation_(cancellation) {
    const std::lock_guard lock(cancellation_.mutex_);
    cancellation_.action_ = std::move(action);
    if (cancellation_.requested()) cancellation_.action_();
}

Cancellation::Scope::~Scope() {
    const std::lock_guard lock(cancellation_.mutex_);
    cancellation_.action_ = nullptr;
}

}  // namespace vigil::serve
