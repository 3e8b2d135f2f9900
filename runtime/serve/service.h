// What all requests of a server share.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "host/chat/chat_template.h"
#include "runtime/engine.h"
#include "runtime/serve/cancellation.h"
#include "runtime/serve/limits.h"
#include "runtime/serve/metrics.h"
#include "runtime/serve/peer_watch.h"
#include "runtime/serve/turns.h"

namespace vigil::serve {

// The requests under way, so that a server that ends can end them.
class Requests {
   public:
    class Entry {
       public:
        Entry(Requests& requests, Cancellation& cancellation);
        ~Entry();
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;

       private:
        Requests& requests_;
        Cancellation& cancellation_;
    };

    // Also those that come later.
    void cancel_all(Cancellation::Why why);
    std::size_t size() const;

   private:
    mutable std::mutex mutex_;  // of all below
    std::set<Cancellation*> entries_;
    Cancellation::Why ended_ = Cancellation::Why::none;
};

struct Service {
    Service(Engine& the_engine, const ChatTemplate* the_chat, std::string name, std::size_t queue, Limits the_limits)
        : engine(the_engine), chat(the_chat), model_name(std::move(name)), limits(the_limits), turns(queue) {}

    Engine& engine;
    const ChatTemplate* const chat;  // null: the model has none
    const std::string model_name;
    const Limits limits;
    Turns turns;
    PeerWatch peers;
    Metrics metrics;
    Requests requests;
    std::atomic<double> mean_ms{0};  // of the last generations, for Retry-After
};

}  // namespace vigil::serve
