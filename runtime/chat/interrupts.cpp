#include "runtime/chat/interrupts.h"

#include <cerrno>
#include <sys/signalfd.h>
#include <system_error>
#include <unistd.h>

namespace vigil::chat {

Interrupts::Interrupts() {
    sigset_t sigint;
    sigemptyset(&sigint);
    sigaddset(&sigint, SIGINT);
    pthread_sigmask(SIG_BLOCK, &sigint, &before_);
    descriptor_ = signalfd(-1, &sigint, SFD_NONBLOCK | SFD_CLOEXEC);
    if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

Interrupts::~Interrupts() {
    take();  // what came last would end the program now
    close(descriptor_);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool Interrupts::take() {
    bool any = false;
    signalfd_siginfo info;
    while (read(descriptor_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) any = true;
    return any;
}

}  // namespace vigil::chat
