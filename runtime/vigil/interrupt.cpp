#include "runtime/vigil/interrupt.h"

#include <csignal>
#include <ctime>
#include <unistd.h>
#include <utility>

#include "runtime/vigil/commands.h"

namespace vigil::program {
namespace {

sigset_t only_sigint() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    return set;
}

// How long the destructor may have to wait for the thread to look.
constexpr timespec kLook{0, 50'000'000};

}  // namespace

Interrupt::Interrupt() {
    const sigset_t set = only_sigint();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    thread_ = std::thread(&Interrupt::watch, this);
}

Interrupt::~Interrupt() {
    leaving_ = true;
    thread_.join();
    const sigset_t set = only_sigint();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

Interrupt::Scope::Scope(Interrupt& interrupt, std::function<void()> action) : interrupt_(interrupt) {
    const std::lock_guard lock(interrupt_.mutex_);
    interrupt_.action_ = std::move(action);
    if (interrupt_.interrupted_) interrupt_.action_();
}

Interrupt::Scope::~Scope() {
    const std::lock_guard lock(interrupt_.mutex_);
    interrupt_.action_ = [] {};
}

void Interrupt::watch() {
    const sigset_t set = only_sigint();
    while (!leaving_) {
        if (sigtimedwait(&set, nullptr, &kLook) != SIGINT) continue;
        if (interrupted_.exchange(true)) {
            // The way a program dies that never heard of SIGINT, so that a shell sees it.
            std::signal(SIGINT, SIG_DFL);
            pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
            raise(SIGINT);
        }
        const std::lock_guard lock(mutex_);
        if (!action_) _exit(kInterrupted);
        action_();
    }
}

}  // namespace vigil::program
