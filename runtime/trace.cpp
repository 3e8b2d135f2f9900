#include "runtime/trace.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <iterator>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "device/launch.h"
#include "runtime/fault_text.h"

namespace vigil {
namespace {

using device::TraceRecord;

constexpr std::int32_t kTokensRow = 0;       // row of the tokens; block b has row b + 1
constexpr std::int32_t kRecordsPerStep = 2;  // room for phases that wait more than once
constexpr std::size_t kPieceBytes = std::size_t{1} << 16;

std::int32_t records_per_token(const device::ModelConfig& config) {
    return kRecordsPerStep * device::n_steps(config);
}

std::uint64_t duration(const TraceRecord& r) {
    return r.end_ns > r.begin_ns ? r.end_ns - r.begin_ns : 0;
}

// Part of the phase, whatever the record says.
std::uint64_t waiting(const TraceRecord& r) {
    return std::min<std::uint64_t>(r.wait_ns, duration(r));
}

// Collects text and hands it on in pieces.
class Pieces {
   public:
    explicit Pieces(const std::function<void(std::string_view)>& write) : write_(write) {}

    template <class... Values>
    void add(fmt::format_string<Values...> format, Values&&... values) {
        fmt::format_to(std::back_inserter(text_), format, std::forward<Values>(values)...);
        if (text_.size() >= kPieceBytes) flush();
    }
    // The events of an array: all but the first have a comma before them.
    template <class... Values>
    void event(fmt::format_string<Values...> format, Values&&... values) {
        text_ += any_event_ ? ",\n" : "\n";
        any_event_ = true;
        add(format, std::forward<Values>(values)...);
    }
    void flush() {
        write_(text_);
        text_.clear();
    }

   private:
    const std::function<void(std::string_view)>& write_;
    std::string text_;
    bool any_event_ = false;
};

std::string quoted(const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void name_row(Pieces& out, std::size_t process, std::int32_t row, std::int64_t order, const std::string& name) {
    out.event(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":"{}"}}}})", process, row, name);
    out.event(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_sort_index","args":{{"sort_index":{}}}}})", process, row,
              order);
}

// A block may run on another multiprocessor with each ordinary launch; then its row has only the block's name.
void name_block(Pieces& out, std::size_t process, std::size_t block, const std::vector<TraceRecord>& records) {
    const auto row = static_cast<std::int32_t>(block) + 1;
    const std::uint32_t sm = records.front().sm;
    const bool stays = std::ranges::all_of(records, [sm](const TraceRecord& r) { return r.sm == sm; });
    if (stays)
        name_row(out, process, row, std::int64_t{sm} + 1, fmt::format("SM {}, block {}", sm, block));
    else
        name_row(out, process, row, row, fmt::format("block {}", block));
}

double microseconds(std::uint64_t ns) {
    return static_cast<double>(ns) / 1e3;
}

void write_slice(Pieces& out, std::size_t process, std::int32_t row, std::uint64_t begin_ns, const TraceRecord& r) {
    const char* phase = phase_name(static_cast<ring::Phase>(r.phase));
    out.event(R"({{"ph":"X","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"cat":"phase","name":"{}","args":{{)"
              R"("layer":{},"token":{}}}}})",
              process, row, microseconds(r.begin_ns - begin_ns), microseconds(duration(r)), phase, r.layer, r.token);
    if (waiting(r) > 0)
        out.event(R"({{"ph":"X","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"cat":"wait","name":"wait","args":{{)"
                  R"("phase":"{}"}}}})",
                  process, row, microseconds(r.begin_ns - begin_ns), microseconds(waiting(r)), phase);
}

struct Span {
    std::uint64_t begin_ns = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t end_ns = 0;
};

// From the first block's begin to the last one's end.
std::map<std::int32_t, Span> token_spans(const Trace& trace) {
    std::map<std::int32_t, Span> spans;
    for (const auto& block : trace.records)
        for (const TraceRecord& r : block) {
            Span& span = spans[r.token];
            span.begin_ns = std::min(span.begin_ns, r.begin_ns);
            span.end_ns = std::max(span.end_ns, r.end_ns);
        }
    return spans;
}

// Blocks enter the next token while others are still in this one; slices of one row must not overlap in part.
void write_tokens(Pieces& out, std::size_t process, const std::map<std::int32_t, Span>& spans, std::uint64_t begin_ns) {
    for (auto it = spans.begin(); it != spans.end(); ++it) {
        const auto next = std::next(it);
        const std::uint64_t begin = it->second.begin_ns;
        std::uint64_t end = it->second.end_ns;
        if (next != spans.end()) end = std::min(end, std::max(begin, next->second.begin_ns));
        out.event(R"({{"ph":"X","pid":{},"tid":{},"ts":{:.3f},"dur":{:.3f},"cat":"token","name":"token {}"}})", process,
                  kTokensRow, microseconds(begin - begin_ns), microseconds(end - begin), it->first);
    }
}

void write_process(Pieces& out, std::size_t process, const Trace& trace) {
    out.event(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":{}}}}})", process, quoted(trace.name));
    if (trace.empty()) return;
    std::uint64_t begin_ns = std::numeric_limits<std::uint64_t>::max();
    for (const auto& block : trace.records)
        if (!block.empty()) begin_ns = std::min(begin_ns, block.front().begin_ns);
    name_row(out, process, kTokensRow, 0, "tokens");
    write_tokens(out, process, token_spans(trace), begin_ns);
    for (std::size_t block = 0; block < trace.records.size(); ++block) {
        if (trace.records[block].empty()) continue;
        name_block(out, process, block, trace.records[block]);
        for (const TraceRecord& r : trace.records[block])
            write_slice(out, process, static_cast<std::int32_t>(block) + 1, begin_ns, r);
    }
}

}  // namespace

bool Trace::empty() const noexcept {
    return std::ranges::all_of(records, [](const auto& block) { return block.empty(); });
}

TraceMemory::TraceMemory(host::Device& device, device::KernelArgs& args, const TraceOptions& options)
    : device_(device),
      n_blocks_(static_cast<std::size_t>(args.plan.n_blocks)),
      per_block_(static_cast<std::size_t>(std::max(0, options.n_tokens)) *
                 static_cast<std::size_t>(records_per_token(args.config))) {
    if (options.first_token < 0 || options.n_tokens < 0)
        throw host::DeviceError(fmt::format("a trace of {} tokens from token {} on: neither can be negative",
                                            options.n_tokens, options.first_token));
    if (options.n_tokens == 0) return;
    records_ = static_cast<TraceRecord*>(device.allocate(n_blocks_ * per_block_ * sizeof(TraceRecord)));
    args.trace = records_;
    args.trace_capacity = records_per_token(args.config);
    args.trace_first_token = options.first_token;
    args.trace_tokens = options.n_tokens;
}

TraceMemory::~TraceMemory() {
    if (records_ != nullptr) device_.release(records_);
}

std::vector<std::vector<TraceRecord>> TraceMemory::read() const {
    std::vector<TraceRecord> memory(n_blocks_ * per_block_);
    if (records_ != nullptr) device_.download(memory.data(), records_, memory.size() * sizeof(TraceRecord));
    return sort_records(memory, per_block_);
}

void TraceMemory::clear() {
    if (records_ == nullptr) return;
    const std::vector<TraceRecord> zeroes(n_blocks_ * per_block_);
    device_.upload(records_, zeroes.data(), zeroes.size() * sizeof(TraceRecord));
    device_.flush_uploads();
}

std::vector<std::vector<TraceRecord>> sort_records(std::span<const TraceRecord> memory, std::size_t per_block) {
    std::vector<std::vector<TraceRecord>> blocks;
    for (std::size_t at = 0; per_block > 0 && at < memory.size(); at += per_block) {
        std::vector<TraceRecord>& block = blocks.emplace_back();
        std::ranges::copy_if(memory.subspan(at, per_block), std::back_inserter(block),
                             [](const TraceRecord& r) { return r.end_ns != 0; });
        std::ranges::stable_sort(block, {}, &TraceRecord::begin_ns);
    }
    return blocks;
}

void write_chrome_trace(std::span<const Trace> traces, const std::function<void(std::string_view)>& write) {
    Pieces out(write);
    out.add(R"({{"displayTimeUnit":"ns","traceEvents":[)");
    for (std::size_t i = 0; i < traces.size(); ++i) write_process(out, i + 1, traces[i]);
    out.add("\n]}}\n");
    out.flush();
}

std::vector<PhaseTime> phase_times(const Trace& trace) {
    std::array<PhaseTime, static_cast<std::size_t>(ring::Phase::kCount)> sums{};
    std::size_t n_blocks = 0;
    for (const auto& block : trace.records) {
        if (!block.empty()) ++n_blocks;
        for (const TraceRecord& r : block) {
            if (r.phase >= sums.size()) continue;
            PhaseTime& sum = sums[r.phase];
            sum.phase = static_cast<ring::Phase>(r.phase);
            sum.total_ns += static_cast<double>(duration(r));
            sum.wait_ns += static_cast<double>(waiting(r));
        }
    }
    const double share = 1.0 / static_cast<double>(std::max<std::size_t>(1, n_blocks * token_spans(trace).size()));
    std::vector<PhaseTime> times;
    for (PhaseTime& sum : sums) {
        if (sum.phase == ring::Phase::kNone) continue;
        sum.total_ns *= share;
        sum.wait_ns *= share;
        times.push_back(sum);
    }
    return times;
}

}  // namespace vigil
