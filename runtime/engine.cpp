// The engine's parts put together: what is loaded, in which order the threads start, and how it all ends.
#include "runtime/engine.h"

#include <algorithm>
#include <atomic>
#include <fmt/format.h>
#include <thread>
#include <utility>

#include "host/model.h"
#include "host/prefill.h"
#include "host/workspace.h"
#include "runtime/choose_device.h"
#include "runtime/completions.h"
#include "runtime/dispatch_name.h"
#include "runtime/in_kernel_prompt.h"
#include "runtime/request_run.h"
#include "runtime/shared_memory.h"
#include "runtime/submission.h"
#include "runtime/supervisor.h"
#include "runtime/validate.h"

namespace vigil {
namespace {

constexpr std::int32_t kDefaultContext = 4096;
constexpr std::int32_t kMaxParallel = 1024;
constexpr std::chrono::milliseconds kLeaseInterval{50};
// Of device memory, for cuBLAS with all its kernels, and for prefill's scratch.
constexpr std::size_t kCublasRoom = std::size_t{3} << 30;
// How long host threads look for what they wait for before they sleep: a wake-up costs as much as ten trips across
// PCIe.
constexpr std::chrono::microseconds kSpin{1000};        // the submitting thread, for another request
constexpr std::chrono::microseconds kClientSpin{5000};  // a client, for a token: as long as tokens usually take
// The completing, the submitting and a client's thread at once, and one more. Beside the CPU device they would take the
// kernel's cores.
constexpr unsigned kCoresToSpin = 4;

bool may_spin(const host::DeviceInfo& device) {
    return device.is_cuda && std::thread::hardware_concurrency() >= kCoresToSpin;
}

std::uint64_t nanoseconds(std::chrono::milliseconds time) {
    return static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count());
}

// Positions of the KV cache, the same number for each conversation.
std::int32_t cache_positions(const gguf::File& file, const EngineOptions& options) {
    if (options.ctx_size < 0)
        throw host::DeviceError(fmt::format("ctx_size is {}: it can't be negative", options.ctx_size));
    if (options.parallel < 1 || options.parallel > kMaxParallel)
        throw host::DeviceError(
            fmt::format("parallel is {}: it must lie between 1 and {}", options.parallel, kMaxParallel));
    const std::int32_t model_context = host::read_config(file, 0).max_seq_len;
    if (options.ctx_size == 0) return std::min(model_context, kDefaultContext) * options.parallel;
    const std::int32_t each = options.ctx_size / options.parallel;
    if (each == 0)
        throw host::DeviceError(
            fmt::format("ctx_size is {}: too few positions for {} conversations", options.ctx_size, options.parallel));
    if (each > model_context && options.on_warning)
        options.on_warning(fmt::format("a context of {} positions is more than the {} that the model was made for",
                                       each, model_context));
    return each * options.parallel;
}

device::KernelArgs make_args(const host::Model& model, const host::Workspace& workspace, const EngineOptions& options) {
    device::KernelArgs args;
    args.weights = model.weights();
    workspace.fill(args);
    args.idle_park_ns = nanoseconds(options.idle_park);
    args.lease_ns = nanoseconds(options.lease);
    args.deadline_ns = nanoseconds(options.deadline);
    return args;
}

Tokenizer load_tokenizer(const gguf::File& file, const EngineOptions& options) {
    Tokenizer tokenizer = Tokenizer::from_gguf(file, options.pre_tokenizer);
    if (!options.on_warning) return tokenizer;
    for (const std::string& warning : tokenizer.warnings()) options.on_warning(warning);
    if (tokenizer.end_of_generation().size() > ring::kMaxStopTokens)
        options.on_warning(fmt::format("the model has {} tokens that end a generation; only the first {} do",
                                       tokenizer.end_of_generation().size(), ring::kMaxStopTokens));
    return tokenizer;
}

}  // namespace

struct Generation::State final : RequestRun {
    using RequestRun::RequestRun;
};

// Members in the order of their making; threads start with the last ones and end before anything else goes.
struct Engine::Impl {
    Impl(const gguf::File& file, std::unique_ptr<host::Device> the_device, const EngineOptions& the_options)
        : options(the_options),
          tokenizer(load_tokenizer(file, options)),
          device(std::move(the_device)),
          model(file, *device, cache_positions(file, options), options.on_load, [&] { begin_cublas(file); }),
          workspace(*device, model.config(), device->plan(model.config(), options.blocks)),
          args(make_args(model, workspace, options)),
          trace(*device, args, options.trace),
          memory(*device, args, {.job_capacity = 8, .event_capacity = 4096, .logits_rows = options.logits_rows}),
          prefill(host::make_prefill(*device, args,
                                     {.use_cublas = options.use_cublas,
                                      .open_cublas_late = !options.prefills,
                                      .chunk = host::prefill_chunk(*device, model.config()),
                                      .on_warning = options.on_warning},
                                     std::move(cublas))),
          gemm_name(prefill->gemm_name()) {
        device->flush_uploads();
        start();
    }
    ~Impl();

    // If there is room for it beside all that is allocated after the weights: it must not make a model that fits fail.
    void begin_cublas(const gguf::File& file);
    void start();
    // Ends all jobs and makes the kernel's state that of a fresh start, with the rings where they are.
    void recover(const std::string& error);

    EngineOptions options;
    Tokenizer tokenizer;
    std::unique_ptr<host::Device> device;
    std::unique_ptr<host::CublasOpening> cublas;  // opens beside the upload of the model, until prefill takes it
    host::Model model;
    host::Workspace workspace;
    device::KernelArgs args;
    TraceMemory trace;
    SharedMemory memory;
    std::unique_ptr<host::Prefill> prefill;
    std::string gemm_name;
    const bool spins = may_spin(device->info());  // asked once: the answer comes from the file system
    std::atomic<std::uint64_t> requests{0};

    std::shared_ptr<Completions> completions;
    std::unique_ptr<Supervisor> supervisor;
    std::unique_ptr<Submission> submission;
};

void Engine::Impl::begin_cublas(const gguf::File& file) {
    if (!options.use_cublas || !options.prefills || !device->info().is_cuda) return;
    EngineOptions quiet = options;
    quiet.on_warning = nullptr;  // what there is to say has been said
    const device::ModelConfig config = host::read_config(file, cache_positions(file, quiet));
    const std::size_t still_needed = host::Workspace::bytes_needed(config, device->plan(config, options.blocks));
    if (device->info().free_bytes >= still_needed + kCublasRoom) cublas = host::begin_cublas(*device);
}

void Engine::Impl::start() {
    completions = std::make_shared<Completions>(
        tokenizer, memory, Completions::Options{.spins = spins, .on_finished = [this] { submission->notify(); }});
    supervisor = std::make_unique<Supervisor>(
        *device, args, memory,
        Supervisor::Options{
            .lease_interval = std::max(std::chrono::milliseconds(1), std::min(kLeaseInterval, options.lease / 4)),
            .patience = 4 * options.deadline,
            .has_work = [this] { return options.dispatch == Dispatch::persistent && completions->outstanding() > 0; },
            .on_fault = [this](const std::string& error) { recover(error); },
            .on_lost = [this](const std::string& error) { completions->end_all(FinishReason::kFault, error, {}); }});
    submission = std::make_unique<Submission>(
        *device, args, memory, *prefill, tokenizer, *completions, *supervisor,
        Submission::Options{.dispatch = options.dispatch,
                            .parallel = options.parallel,
                            .in_kernel_prompt = options.in_kernel_prompt >= 0
                                                    ? options.in_kernel_prompt
                                                    : in_kernel_prompt(device->info(), model.weight_bytes()),
                            .prefill_piece = prefill->chunk(),
                            .linger = spins ? kSpin : std::chrono::microseconds(0),
                            .deadline = options.deadline});
    if (options.dispatch == Dispatch::persistent) supervisor->resume();
    if (supervisor->lost()) throw host::DeviceError(supervisor->lost_reason());
}

Engine::Impl::~Impl() {
    completions->cancel_all();
    submission->stop();
    // The jobs under way end within a token, if the kernel is well; if not, it is told to leave all the same.
    completions->cancel_all();
    if (!supervisor->stop()) {
        // cuBLAS would wait for the kernel, for ever.
        static_cast<void>(prefill.release());
    }
    completions->end_all(FinishReason::kCancelled, {}, {});
    completions->stop();
}

void Engine::Impl::recover(const std::string& error) {
    completions->end_all(FinishReason::kFault, error, [this](std::uint32_t next_event) {
        workspace.reset();
        device::DecodeState fresh;
        fresh.next_job = submission->jobs_pushed();
        fresh.next_event = next_event;
        fresh.events_consumed = next_event;
        device->upload(args.state, &fresh, sizeof fresh);
        device->flush_uploads();
        ring::store_release(&memory.status->jobs_consumed, fresh.next_job);
    });
}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;
Engine::~Engine() = default;

Engine Engine::load(const std::filesystem::path& model, const EngineOptions& options) {
    const gguf::File file = gguf::File::open(model);
    std::unique_ptr<host::Device> device = choose_device(options.device, options.cpu_threads, options.on_warning);
    if (options.device != "auto" || !device->info().is_cuda)
        return Engine(std::make_unique<Impl>(file, std::move(device), options));
    try {
        return Engine(std::make_unique<Impl>(file, std::move(device), options));
    } catch (const host::DeviceError& e) {
        if (options.on_warning) options.on_warning(fmt::format("the GPU is not used: {}", e.what()));
    }
    return Engine(std::make_unique<Impl>(file, host::make_cpu_device(options.cpu_threads), options));
}

Engine Engine::load(const std::filesystem::path& model, const EngineOptions& options,
                    std::unique_ptr<host::Device> device) {
    return Engine(std::make_unique<Impl>(gguf::File::open(model), std::move(device), options));
}

Generation Engine::submit(Request request) {
    validate(request, config(), context_size(), impl_->options.logits_rows);
    const auto spin = impl_->spins ? kClientSpin : std::chrono::microseconds(0);
    auto state = std::make_shared<Generation::State>(std::move(request), ++impl_->requests, spin, impl_->completions);
    impl_->supervisor->release();
    impl_->submission->submit(state);
    return Generation(std::move(state));
}

const Tokenizer& Engine::tokenizer() const noexcept {
    return impl_->tokenizer;
}
const device::ModelConfig& Engine::config() const noexcept {
    return impl_->model.config();
}
std::int32_t Engine::context_size() const noexcept {
    return impl_->model.config().max_seq_len / impl_->options.parallel;
}
const host::DeviceInfo& Engine::device_info() const noexcept {
    return impl_->device->info();
}
Dispatch Engine::dispatch() const noexcept {
    return impl_->options.dispatch;
}
std::size_t Engine::weight_bytes() const noexcept {
    return impl_->model.weight_bytes();
}
const char* Engine::gemm_name() const noexcept {
    return impl_->gemm_name.c_str();
}

std::span<const float> Engine::logits_row(std::int32_t row) const {
    if (row < 0 || row >= impl_->options.logits_rows)
        throw std::invalid_argument(
            fmt::format("row is {}: the engine was loaded with logits_rows {}", row, impl_->options.logits_rows));
    const auto width = static_cast<std::size_t>(impl_->model.config().vocab_size);
    return std::span<const float>(impl_->memory.logits).subspan(static_cast<std::size_t>(row) * width, width);
}

void Engine::park() {
    if (impl_->options.dispatch == Dispatch::persistent) impl_->supervisor->hold();
}

void Engine::resume() {
    if (impl_->options.dispatch == Dispatch::persistent) impl_->supervisor->resume();
}

EngineStatistics Engine::statistics() const {
    return {.requests = impl_->requests,
            .tokens = ring::load_relaxed(&impl_->memory.status->tokens),
            .launches = impl_->supervisor->launches(),
            .prefills = impl_->submission->prefills(),
            .waiting = impl_->submission->waiting()};
}

Trace Engine::trace() {
    Trace result{.name = fmt::format("{}, {}", impl_->device->info().name, name_of(dispatch())), .records = {}};
    const auto read = [&] { result.records = impl_->trace.read(); };
    if (dispatch() == Dispatch::persistent)
        impl_->supervisor->with_parked(read);
    else
        read();
    return result;
}

Generation::Generation(std::shared_ptr<State> state) : state_(std::move(state)) {}
Generation::Generation(Generation&&) noexcept = default;

Generation& Generation::operator=(Generation&& other) noexcept {
    if (this == &other) return *this;
    if (state_) state_->cancel();
    state_ = std::move(other.state_);
    return *this;
}

Generation::~Generation() {
    if (state_) state_->cancel();
}

std::optional<TokenResult> Generation::next() {
    return state_->next();
}
bool Generation::wait_for(std::chrono::milliseconds time) {
    return state_->wait_for(time);
}
void Generation::cancel() {
    state_->cancel();
}
FinishReason Generation::reason() const {
    return state_->end().reason;
}
bool Generation::stopped_by_text() const {
    return state_->end().by_text;
}
const std::string& Generation::error() const {
    return state_->end().error;
}
const RequestStatistics& Generation::statistics() const {
    return state_->end().statistics;
}

}  // namespace vigil
