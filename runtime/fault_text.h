// What KernelStatus and BlockFaults say, in words.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "ringbuf/messages.h"

namespace vigil {

const char* phase_name(ring::Phase phase);

// Whether any block gave up waiting. Pairs with the store_release of the block.
bool any_block_fault(std::span<const ring::BlockFault> faults);

// Why a kernel left that was not told to: one clause per block that gave up, such as
// "block 17 waited for 24 arrivals in phase attention, layer 3: 23 seen".
std::string describe_fault(ring::Fault fault, std::span<const ring::BlockFault> faults);

}  // namespace vigil
