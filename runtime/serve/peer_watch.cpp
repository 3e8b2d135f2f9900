#include "runtime/serve/peer_watch.h"

#include <array>
#include <cerrno>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace vigil::serve {
namespace {

constexpr std::uint64_t kEnd = 0;

int check(int descriptor, const char* what) {
    if (descriptor < 0) throw std::system_error(errno, std::generic_category(), what);
    return descriptor;
}

}  // namespace

PeerWatch::PeerWatch()
    : epoll_(check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")), wake_(check(eventfd(0, EFD_CLOEXEC), "eventfd")) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = kEnd}};
    check(epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event), "epoll_ctl");
    thread_ = std::thread(&PeerWatch::run, this);
}

PeerWatch::~PeerWatch() {
    check(eventfd_write(wake_, 1), "eventfd_write");
    thread_.join();
    close(epoll_);
    close(wake_);
}

PeerWatch::Scope::Scope(PeerWatch& watch, int socket, std::function<void()> gone) : watch_(watch), socket_(socket) {
    const std::lock_guard lock(watch_.mutex_);
    key_ = watch_.next_key_++;
    watch_.watched_.emplace(key_, std::move(gone));
    epoll_event event{.events = EPOLLRDHUP | EPOLLONESHOT, .data = {.u64 = key_}};
    check(epoll_ctl(watch_.epoll_, EPOLL_CTL_ADD, socket_, &event), "epoll_ctl");
}

PeerWatch::Scope::~Scope() {
    const std::lock_guard lock(watch_.mutex_);
    epoll_ctl(watch_.epoll_, EPOLL_CTL_DEL, socket_, nullptr);
    watch_.watched_.erase(key_);
}

void PeerWatch::run() {
    std::array<epoll_event, 64> events;
    while (true) {
        const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
        const std::lock_guard lock(mutex_);
        for (int i = 0; i < n; ++i) {
            const std::uint64_t key = events[static_cast<std::size_t>(i)].data.u64;
            if (key == kEnd) return;
            // It may have been taken off the list since.
            if (const auto found = watched_.find(key); found != watched_.end()) found->second();
        }
    }
}

}  // namespace vigil::serve
