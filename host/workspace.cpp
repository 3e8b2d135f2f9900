#include "host/workspace.h"

#include <algorithm>
#include <fmt/format.h>
#include <vector>

#include "device/launch.h"
#include "device/sm90/replicas.h"

namespace vigil::host {
namespace {

// Each part starts on a line of its own, whatever the machine's line is.
constexpr std::size_t kAlignment = 256;

// Hands out consecutive aligned parts of one allocation. Without a base it only adds up the sizes.
class Layout {
   public:
    explicit Layout(void* base) : base_(static_cast<std::byte*>(base)) {}

    template <class T>
    void place(T*& pointer, std::size_t count) {
        pointer = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
        used_ += (count * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    }
    std::size_t used() const { return used_; }
    // What comes next begins at a multiple of `alignment`.
    void align(std::size_t alignment) {
        const auto at = reinterpret_cast<std::uintptr_t>(base_) + used_;
        used_ += base_ == nullptr ? alignment : (alignment - at % alignment) % alignment;
    }
    void skip(std::size_t bytes) { used_ += bytes; }

   private:
    std::byte* base_;
    std::size_t used_ = 0;
};

std::size_t size(std::int32_t n) {
    return static_cast<std::size_t>(n);
}

std::size_t kv_elements(const device::ModelConfig& c) {
    return size(c.n_layers) * size(c.n_kv_heads) * size(c.max_seq_len) * size(c.head_dim);
}

// Sets the pointers of `args` into `base`; returns the bytes they need together.
std::size_t lay_out(device::KernelArgs& args, void* base) {
    const device::ModelConfig& c = args.config;
    const std::size_t head_rows = size(c.n_heads) * size(c.head_dim);
    const std::size_t kv_rows = size(c.n_kv_heads) * size(c.head_dim);
    const std::size_t vocab = size(c.vocab_size);
    Layout layout(base);
    layout.place(args.kv.k, kv_elements(c));
    layout.place(args.kv.v, kv_elements(c));
    layout.place(args.history, size(c.max_seq_len) + 1);
    layout.place(args.act.partials,
                 size(c.n_heads) * size(args.plan.max_kv_splits) * size(device::part_floats(c.head_dim)));
    const bool replicated = args.plan.stream.n_stages != 0;
    const auto place_vector = [&](float*& vector, std::size_t floats) {
        if (replicated) layout.align(device::sm90::kVectorAlignment);
        layout.place(vector, floats);
    };
    if (replicated) layout.align(device::sm90::kReplicasAlignment);
    place_vector(args.act.residual, size(c.dim));
    place_vector(args.act.qkv, head_rows + 2 * kv_rows);
    place_vector(args.act.heads, head_rows);
    place_vector(args.act.hidden, size(c.ffn_dim));
    if (replicated) layout.skip(device::sm90::kReplicaDistance);  // the other replicas end as far behind these
    // Where a vector is too long for the blocks' shared memory, each block keeps its copy here.
    const std::size_t shared_floats = size(args.plan.area_bytes) / sizeof(float);
    const std::size_t widest = size(device::input_floats(std::max(c.n_heads * c.head_dim, c.ffn_dim)));
    const bool may_not_fit = args.plan.stream.n_stages == 0;  // the stream's plan makes room for all inputs
    if (may_not_fit && widest > shared_floats) layout.place(args.act.overflow, size(args.plan.n_blocks) * widest);
    layout.place(args.act.logits, vocab);
    layout.place(args.act.scores, vocab);
    layout.place(args.act.tiles, (vocab + device::kTileRows - 1) / device::kTileRows);
    layout.place(args.state, 1);
    layout.place(args.sync, 1);
    return layout.used();
}

}  // namespace

std::size_t kv_cache_bytes(const device::ModelConfig& config) {
    return 2 * kv_elements(config) * sizeof(std::uint16_t);
}

std::size_t Workspace::bytes_needed(const device::ModelConfig& config, const device::GridPlan& plan) {
    device::KernelArgs args;
    args.config = config;
    args.plan = plan;
    return lay_out(args, nullptr);
}

Workspace::Workspace(Device& device, const device::ModelConfig& config, const device::GridPlan& plan)
    : device_(device), bytes_(bytes_needed(config, plan)), kv_bytes_(kv_cache_bytes(config)) {
    args_.config = config;
    args_.plan = plan;
    try {
        memory_ = device.allocate(bytes_);
    } catch (const DeviceError& e) {
        throw DeviceError(fmt::format(
            "{}: the KV cache of {} positions takes {} MiB and the activations {} MiB; try a smaller context (-c)",
            e.what(), config.max_seq_len, kv_bytes_ >> 20, (bytes_ - kv_bytes_) >> 20));
    }
    lay_out(args_, memory_);
}

Workspace::~Workspace() {
    device_.release(memory_);
}

void Workspace::fill(device::KernelArgs& args) const {
    args.config = args_.config;
    args.plan = args_.plan;
    args.kv = args_.kv;
    args.act = args_.act;
    args.history = args_.history;
    args.state = args_.state;
    args.sync = args_.sync;
}

void Workspace::reset() {
    // Everything behind the KV cache and history: words that carry an epoch of before must not be taken for new ones.
    auto* begin = reinterpret_cast<std::byte*>(args_.act.partials);
    const auto* end = static_cast<const std::byte*>(memory_) + bytes_;
    const std::vector<std::byte> zeroes(static_cast<std::size_t>(end - begin));
    device_.upload(begin, zeroes.data(), zeroes.size());
    device_.flush_uploads();
}

}  // namespace vigil::host
