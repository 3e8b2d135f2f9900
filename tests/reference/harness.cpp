#include "tests/reference/harness.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

namespace vigil::reference {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kJobCapacity = 4;
constexpr std::chrono::seconds kSilence{120};  // without an event
constexpr std::chrono::seconds kIdlePark{60};

std::uint64_t nanoseconds(std::chrono::nanoseconds time) {
    return static_cast<std::uint64_t>(time.count());
}

}  // namespace

template <class T>
T* Harness::pinned(std::size_t count) {
    pinned_.push_back(device_.allocate_pinned(count * sizeof(T)));
    return static_cast<T*>(pinned_.back());
}

Harness::Harness(const gguf::File& file, host::Device& device, const Options& options) : device_(device) {
    model_ = std::make_unique<host::Model>(file, device, options.max_seq_len);
    device::GridPlan plan = device.plan(model_->config(), options.n_blocks);
    if (options.max_kv_splits > 0) plan.max_kv_splits = options.max_kv_splits;
    workspace_ = std::make_unique<host::Workspace>(device, model_->config(), plan);
    args_.weights = model_->weights();
    workspace_->fill(args_);

    args_.job_capacity = kJobCapacity;
    args_.event_capacity = options.event_capacity;
    args_.logits_out_rows = options.logits_rows;
    args_.job_slots = jobs_ = pinned<ring::JobSlot>(kJobCapacity);
    args_.job_tokens = job_tokens_ = pinned<std::int32_t>(kJobCapacity * static_cast<std::size_t>(options.max_seq_len));
    args_.job_cancel = pinned<std::uint64_t>(kJobCapacity);
    args_.event_slots = pinned<ring::EventSlot>(options.event_capacity);
    args_.control = control_ = pinned<ring::HostControl>(1);
    args_.status = pinned<ring::KernelStatus>(1);
    args_.faults = pinned<ring::BlockFault>(static_cast<std::size_t>(plan.n_blocks));
    if (options.logits_rows > 0)
        args_.logits_out = pinned<float>(static_cast<std::size_t>(options.logits_rows) * config().vocab_size);
    args_.idle_park_ns = nanoseconds(kIdlePark);
    args_.lease_ns = nanoseconds(options.lease);
    args_.deadline_ns = nanoseconds(options.deadline);
    device.flush_uploads();
}

Harness::~Harness() {
    if (resident()) {
        command(ring::Command::kStop);
        device_.wait_parked(kSilence);
    }
    for (void* memory : pinned_) device_.release_pinned(memory);
}

ring::DecodeJob Harness::make_job(std::span<const std::int32_t> tokens, int n_cached, int max_new_tokens) {
    ring::DecodeJob job;
    job.id = next_id_++;
    job.n_prompt = static_cast<std::int32_t>(tokens.size());
    job.n_cached = n_cached;
    if (n_cached >= 0 && n_cached < job.n_prompt) job.first_token = tokens[static_cast<std::size_t>(n_cached)];
    job.max_new_tokens = max_new_tokens;
    job.sampling.temperature = 0.0f;
    return job;
}

void Harness::submit(const ring::DecodeJob& job, std::span<const std::int32_t> tokens) {
    const std::uint32_t slot = n_jobs_ % kJobCapacity;
    std::copy(tokens.begin(), tokens.end(), job_tokens_ + static_cast<std::size_t>(slot) * config().max_seq_len);
    ring::encode(&jobs_[slot], job, ++n_jobs_);
}

void Harness::run_step(int step) {
    device_.run_step(args_, step);
    device_.synchronize();
}

void Harness::run_token(host::Dispatch dispatch) {
    device_.run_token(args_, dispatch);
    device_.synchronize();
}

void Harness::command(ring::Command command) {
    ring::store_release(&control_->command, static_cast<std::uint32_t>(command));
}

void Harness::launch() {
    command(ring::Command::kRun);
    device_.launch_resident(args_);
}

void Harness::renew_lease() {
    ring::store_release(&control_->lease, control_->lease + 1);
}

void Harness::park() {
    command(ring::Command::kPark);
    if (!device_.wait_parked(kSilence)) throw std::runtime_error("the kernel did not park");
}

ring::Fault Harness::fault() const {
    return static_cast<ring::Fault>(ring::load_acquire(&args_.status->fault));
}

std::vector<ring::TokenEvent> Harness::take_events() {
    std::vector<ring::TokenEvent> events;
    ring::TokenEvent event;
    while (ring::decode(&args_.event_slots[n_events_ % args_.event_capacity], &event, n_events_ + 1)) {
        events.push_back(event);
        ring::store_release(&control_->events_consumed, ++n_events_);  // pairs with the kernel's look for room
    }
    return events;
}

std::uint32_t Harness::unread_events() const {
    ring::TokenEvent ignored;
    std::uint32_t n = 0;
    while (n < args_.event_capacity &&
           ring::decode(&args_.event_slots[(n_events_ + n) % args_.event_capacity], &ignored, n_events_ + n + 1))
        ++n;
    return n;
}

std::vector<ring::TokenEvent> Harness::run(const ring::DecodeJob& job, std::span<const std::int32_t> tokens,
                                           host::Dispatch dispatch) {
    submit(job, tokens);
    if (dispatch == host::Dispatch::persistent) launch();
    std::vector<ring::TokenEvent> events;
    auto last_event = Clock::now();
    while (events.empty() || events.back().kind != ring::EventKind::kFinished) {
        if (dispatch == host::Dispatch::persistent) {
            renew_lease();
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        } else {
            run_token(dispatch);
        }
        const auto arrived = take_events();
        events.insert(events.end(), arrived.begin(), arrived.end());
        if (!arrived.empty()) last_event = Clock::now();
        if (fault() != ring::Fault::kNone)
            throw std::runtime_error("the kernel left with fault " +
                                     std::to_string(static_cast<std::uint32_t>(fault())));
        if (Clock::now() > last_event + kSilence)
            throw std::runtime_error("the kernel fell silent after " + std::to_string(events.size()) + " events");
    }
    if (dispatch == host::Dispatch::persistent) park();
    return events;
}

std::vector<float> Harness::read(const float* from, int n) const {
    std::vector<float> values(static_cast<std::size_t>(n));
    device_.download(values.data(), from, values.size() * sizeof(float));
    return values;
}

device::DecodeState Harness::read_state() const {
    device::DecodeState state;
    device_.download(&state, args_.state, sizeof state);
    return state;
}

void Harness::write_state(const device::DecodeState& state) {
    device_.upload(args_.state, &state, sizeof state);
    device_.flush_uploads();
}

std::size_t Harness::cache_elements() const {
    const auto& c = config();
    return static_cast<std::size_t>(c.n_layers) * c.n_kv_heads * c.max_seq_len * c.head_dim;
}

std::vector<std::uint16_t> Harness::read_keys() const {
    std::vector<std::uint16_t> keys(cache_elements());
    device_.download(keys.data(), args_.kv.k, keys.size() * sizeof(std::uint16_t));
    return keys;
}

std::vector<std::uint16_t> Harness::read_values() const {
    std::vector<std::uint16_t> values(cache_elements());
    device_.download(values.data(), args_.kv.v, values.size() * sizeof(std::uint16_t));
    return values;
}

void Harness::write_cache(std::span<const std::uint16_t> keys, std::span<const std::uint16_t> values) {
    if (keys.size() != cache_elements() || values.size() != cache_elements())
        throw std::invalid_argument("write_cache: not the KV cache's size");
    device_.upload(args_.kv.k, keys.data(), keys.size_bytes());
    device_.upload(args_.kv.v, values.data(), values.size_bytes());
    device_.flush_uploads();
}

std::span<const float> Harness::emitted_logits(int row) const {
    const auto width = static_cast<std::size_t>(config().vocab_size);
    return {args_.logits_out + static_cast<std::size_t>(row) * width, width};
}

}  // namespace vigil::reference
