// The way into the job ring. Client threads put requests into a queue, one thread takes them out in order, prefills
// where that pays, and puts their jobs into the ring. A client that finds nobody before it and needs no prefill puts
// its job into the ring itself: that saves a hand-over between threads.
#pragma once

#include <atomic>
#include <boost/lockfree/queue.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "host/cpu/block_pool.h"
#include "host/device.h"
#include "host/prefill.h"
#include "ringbuf/ring.h"
#include "runtime/completions.h"
#include "runtime/kv_slots.h"
#include "runtime/request_run.h"
#include "runtime/shared_memory.h"
#include "runtime/supervisor.h"

namespace vigil {

class Submission {
   public:
    struct Options {
        Dispatch dispatch = Dispatch::persistent;
        std::int32_t parallel = 1;            // see EngineOptions
        std::int32_t in_kernel_prompt = 8;    // the same, decided
        std::int32_t prefill_piece = 512;     // tokens between two looks at whether the request is still wanted
        std::chrono::microseconds linger{0};  // how long to look for another request before sleeping
        std::chrono::milliseconds deadline{2000};
    };

    // All that is passed must outlive it. `supervisor` is used under persistent dispatch only.
    Submission(host::Device& device, const device::KernelArgs& args, SharedMemory& memory, host::Prefill& prefill,
               Tokenizer const& tokenizer, Completions& completions, Supervisor& supervisor, const Options& options);
    ~Submission();

    // From any thread. Requests get their turn in the order of the calls.
    void submit(std::shared_ptr<RequestRun> run);
    // A job has ended: there may be room for another.
    void notify() { bell_.open(); }
    // Ends what waits in the queue as cancelled, and the thread.
    void stop();

    // Jobs put into the ring so far. Stable while Completions admits no other.
    std::uint32_t jobs_pushed() const noexcept { return pushed_; }
    std::uint64_t prefills() const noexcept { return prefills_; }
    // Requests that nothing has been done for yet.
    std::uint64_t waiting() const noexcept { return waiting_; }

   private:
    void serve_all();
    // False if the request must wait, for others or for prefill; then nothing was done.
    bool serve_at_once(const std::shared_ptr<RequestRun>& run);
    // All below: with serving_ held.
    void serve(const std::shared_ptr<RequestRun>& run);
    // The kernel has no job, and what the one before left is settled.
    void begin(const std::shared_ptr<RequestRun>& run);
    // Positions behind the reused ones that are prefilled; the kernel feeds the rest of the prompt.
    std::int32_t to_prefill(const Request& request, std::int32_t reused) const;
    void fail(RequestRun& run, const std::string& error);
    // Where the prompt goes in the KV cache, and who brings it there.
    void place(RequestRun& run);
    void prefill(const RequestRun& run);
    ring::DecodeJob make_job(const RequestRun& run) const;
    // Notes what the job that ended has left in the KV cache.
    void settle();
    // Waits until `condition` holds; false if the engine stops or the run is cancelled before.
    // Throws DeviceError if the kernel is lost.
    bool wait_until(const RequestRun& run, const std::function<bool()>& condition);
    bool kernel_has_no_job() const;
    void run_tokens();
    void wait_for_request(std::uint32_t seen);

    host::Device& device_;
    const device::KernelArgs args_;
    SharedMemory& memory_;
    host::Prefill& prefill_;
    const Tokenizer& tokenizer_;
    Completions& completions_;
    Supervisor& supervisor_;
    const Options options_;

    boost::lockfree::queue<std::shared_ptr<RequestRun>*> queue_{64};  // owns what it points to
    host::Gate bell_;
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint32_t> pushed_{0};
    std::atomic<std::uint64_t> prefills_{0};
    std::atomic<std::uint64_t> waiting_{0};
    std::mutex serving_;  // of all below; held while a request is served
    ring::JobProducer jobs_;
    // What a job leaves in the KV cache is known when it has ended, so the next request is placed only then.
    KvSlots slots_;
    std::int32_t slot_ = 0;             // of the request under way
    std::shared_ptr<RequestRun> last_;  // whose job's outcome is not noted yet
    std::string device_error_;          // of an ordinary launch; nothing runs any more
    std::thread thread_;
};

}  // namespace vigil
