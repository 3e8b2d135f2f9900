// Tells at once when a client closes its connection while its request waits or runs.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace vigil::serve {

// One thread, asleep in epoll. A client that closes only its sending side counts as gone, as it does for most servers.
class PeerWatch {
   public:
    PeerWatch();
    ~PeerWatch();
    PeerWatch(const PeerWatch&) = delete;
    PeerWatch& operator=(const PeerWatch&) = delete;

    // While it lives, `gone` is called, once, if the peer of `socket` goes.
    class Scope {
       public:
        Scope(PeerWatch& watch, int socket, std::function<void()> gone);
        ~Scope();  // returns when `gone` runs no more
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

       private:
        PeerWatch& watch_;
        int socket_;
        std::uint64_t key_;
    };

   private:
    void run();

    int epoll_;
    int wake_;          // an eventfd: the end
    std::mutex mutex_;  // of all below, and held while a `gone` runs
    std::uint64_t next_key_ = 1;
    std::unordered_map<std::uint64_t, std::function<void()>> watched_;
    std::thread thread_;
};

}  // namespace vigil::serve
