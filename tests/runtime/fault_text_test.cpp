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
    faults[17] = waited(Phase::kAttention, 3, 24 * 100, 24 * 100 - 1);
    CHECK(any_block_fault(faults));
    CHECK(describe_fault(Fault::kDeadline, faults) ==
          "block 17 waited for 24 arrivals in phase attention, layer 3: 23 seen");
    faults[20] = waited(Phase::kArrival, -1, 24, 0);
    CHECK(describe_fault(Fault::kDeadline, faults) ==
          "block 17 waited for 24 arrivals in phase attention, layer 3: 23 seen; "
          "block 20 waited for 24 arrivals in phase arrival: 0 seen");
}

TEST_CASE("the arrivals' counter may wrap") {
    std::vector<BlockFault> faults(4);
    faults[0] = waited(Phase::kDown, 0, 1, 0xffffffffu);
    CHECK(describe_fault(Fault::kDeadline, faults) == "block 0 waited for 4 arrivals in phase down, layer 0: 2 seen");
}

TEST_CASE("without a block's word the kernel's own is told") {
    const std::vector<BlockFault> faults(4);
    CHECK(describe_fault(Fault::kNone, faults) == "the kernel left without saying why");
    CHECK(describe_fault(Fault::kEventRingFull, faults) == "the event ring stayed full");
    CHECK(std::string(phase_name(Phase::kEventRing)) == "event_ring");
    CHECK(std::string(phase_name(static_cast<Phase>(99))) == "unknown");
}
