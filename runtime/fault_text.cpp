#include "runtime/fault_text.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

#include "ringbuf/ordering.h"

namespace vigil {
namespace {

constexpr std::array<const char*, static_cast<std::size_t>(ring::Phase::kCount)> kPhaseNames = {
    "none",        "arrival", "directive", "embed",  "qkv",    "attention",  "combine",
    "output_proj", "gate_up", "down",      "logits", "sample", "event_ring", "weights"};

const char* fault_text(ring::Fault fault) {
    switch (fault) {
        case ring::Fault::kNone:
            return "the kernel left without saying why";
        case ring::Fault::kDeadline:
            return "a wait in the kernel outlasted its deadline";
        case ring::Fault::kHostGone:
            return "the kernel saw no sign of life from the host";
        case ring::Fault::kEventRingFull:
            return "the event ring stayed full";
        case ring::Fault::kBadJob:
            return "a job's numbers do not fit the kernel's memory";
    }
    return "the kernel left with an unknown fault";
}

std::string describe(const ring::BlockFault& fault, std::size_t block, std::uint32_t n_blocks) {
    const auto phase = static_cast<ring::Phase>(ring::load_relaxed(&fault.phase));
    const std::uint32_t expected = ring::load_relaxed(&fault.expected);
    const std::uint32_t seen = ring::load_relaxed(&fault.seen);
    const std::int32_t layer = ring::load_relaxed(&fault.layer);
    if (phase == ring::Phase::kDirective)
        return fmt::format("block {} waited for directive {} from block 0: the last was {}", block, expected, seen);
    if (phase == ring::Phase::kWeights)
        return fmt::format("block {} waited for weights in stage {} of its stream", block, expected);
    if (phase == ring::Phase::kArrival || phase == ring::Phase::kSample) {
        // The counter runs on from token to token; what it counted for this one is of interest.
        const auto missing =
            std::clamp(static_cast<std::int32_t>(expected - seen), 0, static_cast<std::int32_t>(n_blocks));
        return fmt::format("block {} waited for {} arrivals in phase {}: {} seen", block, n_blocks, phase_name(phase),
                           static_cast<std::int32_t>(n_blocks) - missing);
    }
    return fmt::format("block {} waited in phase {}{} for words of epoch {} and saw epoch {} (both modulo 4)", block,
                       phase_name(phase), layer < 0 ? "" : fmt::format(", layer {},", layer), expected % 4, seen % 4);
}

}  // namespace

const char* phase_name(ring::Phase phase) {
    const auto index = static_cast<std::size_t>(phase);
    return index < kPhaseNames.size() ? kPhaseNames[index] : "unknown";
}

bool any_block_fault(std::span<const ring::BlockFault> faults) {
    return std::any_of(faults.begin(), faults.end(),
                       [](const ring::BlockFault& f) { return ring::load_acquire(&f.fault) != 0; });
}

std::string describe_fault(ring::Fault fault, std::span<const ring::BlockFault> faults) {
    std::string text;
    for (std::size_t block = 0; block < faults.size(); ++block) {
        if (ring::load_acquire(&faults[block].fault) == 0) continue;
        text += text.empty() ? "" : "; ";
        text += describe(faults[block], block, static_cast<std::uint32_t>(faults.size()));
    }
    return text.empty() ? fault_text(fault) : text;
}

}  // namespace vigil
