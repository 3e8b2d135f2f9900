// A hang, in words.
#include "runtime/fault_text.h"

#include <doctest/doctest.h>
#include <vector>

using namespace vigil;
using ring::BlockFault;
using ring::Fault;
using ring::Phase;

namespace {

BlockFault waited(Phase phase, int layer, std::uint32_t expected, std::uint32_t seen) {
    return {static_cast<std::uint32_t>(phase), layer, expected, seen, static_cast<std::uint32_t>(Fault::kDeadline)};
}

}  // namespace

TEST_CASE("a block that gave up is named with what it waited for") {
    std::vector<BlockFault> faults(24);
    CHECK(!any_block_fault(faults));
    faults[17] = waited(Phase::kAttention, 3, 4 * 100 + 2, 0x3f800001u);
    CHECK(any_block_fault(faults));
    CHECK(describe_fault(Fault::kDeadline, faults) ==
          "block 17 waited in phase attention, layer 3, for words of epoch 2 and saw epoch 1 (both modulo 4)");
    faults[20] = waited(Phase::kArrival, -1, 24, 0);
    CHECK(describe_fault(Fault::kDeadline, faults) ==
          "block 17 waited in phase attention, layer 3, for words of epoch 2 and saw epoch 1 (both modulo 4); "
          "block 20 waited for 24 arrivals in phase arrival: 0 seen");
    faults[17] = {};
    faults[20] = waited(Phase::kDirective, -1, 7, 6);
    CHECK(describe_fault(Fault::kDeadline, faults) == "block 20 waited for directive 7 from block 0: the last was 6");
}

TEST_CASE("the arrivals' counter may wrap") {
    std::vector<BlockFault> faults(4);
    faults[0] = waited(Phase::kSample, -1, 1, 0xffffffffu);
    CHECK(describe_fault(Fault::kDeadline, faults) == "block 0 waited for 4 arrivals in phase sample: 2 seen");
}

TEST_CASE("without a block's word the kernel's own is told") {
    const std::vector<BlockFault> faults(4);
    CHECK(describe_fault(Fault::kNone, faults) == "the kernel left without saying why");
    CHECK(describe_fault(Fault::kEventRingFull, faults) == "the event ring stayed full");
    CHECK(std::string(phase_name(Phase::kEventRing)) == "event_ring");
    CHECK(std::string(phase_name(static_cast<Phase>(99))) == "unknown");
}
