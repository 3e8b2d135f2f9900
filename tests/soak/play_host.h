// The host's part towards a resident kernel, played well: the lease renewed, the events read, a kernel that left
// launched again. What a test does before and after that, it does to the harness.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "tests/reference/harness.h"

namespace vigil::soak {

// Puts a greedy job over `prompt` into the ring that stop tokens do not end. The one before must have finished.
void submit(reference::Harness& harness, std::span<const std::int32_t> prompt, int max_new_tokens);

// Plays the host to the job's end and returns its tokens, those of events that waited in the ring included. A kernel
// that left, or was never launched, is launched; `on_left` hears of it first. Throws std::runtime_error if no event
// comes for a minute.
std::vector<std::int32_t> finish(reference::Harness& harness, const std::function<void(ring::Fault)>& on_left = {});

}  // namespace vigil::soak
